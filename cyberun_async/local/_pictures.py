"""The pictures that the demo workflows make: quiet landscapes that depend on every word and number they were asked for."""

from __future__ import annotations

import colorsys
import hashlib
import io
import math
import random

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

Colour = tuple[int, int, int]

# Sky from top to horizon, then the farthest and the nearest hill. Words of the prompt choose; otherwise the seed does.
_PALETTES: dict[str, tuple[str, str, str, str, str]] = {
    "dusk sunset evening twilight": ("#1b1f4b", "#a8456b", "#ffb26b", "#7a4468", "#17132b"),
    "dawn sunrise morning": ("#5b8fc7", "#f5b7a6", "#ffe9bf", "#8fa3c4", "#27405c"),
    "night midnight stars moon dark": ("#050a1f", "#132a56", "#3d5a8a", "#1f3560", "#040814"),
    "forest green spring jungle": ("#8ec7d2", "#cfe8d5", "#f6f3d4", "#7fb39a", "#12362c"),
    "winter snow ice frost": ("#7c9cbf", "#c4d7e6", "#f4f7fa", "#b4c8da", "#3c566e"),
    "desert sand mars red": ("#3f6f8f", "#f0b67f", "#ffe0a8", "#d07b4e", "#5a2318"),
    "sea ocean beach island": ("#2d74a8", "#8fd0dc", "#f9ecc8", "#4f9bb0", "#0d3a52"),
}


def landscape(prompt: str, seed: int, width: int, height: int, *, detail: int = 20, avoid: str = "") -> Image.Image:
    """Draw layered hills under a sky. `detail` is how finely the ridges are cut; `avoid` changes the draw."""
    digest = hashlib.sha256(f"{prompt}\0{seed}\0{avoid}".encode()).digest()
    dice = random.Random(digest)
    sky_top, sky_mid, sky_low, far, near = (_rgb(code) for code in _palette(prompt, dice))
    image = _gradient(width, height, [sky_top, sky_mid, sky_low])
    horizon = height * dice.uniform(0.52, 0.62)
    if _luminance(sky_top) < 70:
        _stars(image, dice, horizon)
    _sun(image, dice, horizon, sky_low)
    _clouds(image, dice, horizon, sky_low)
    for layer in range(5):
        colour = _mix(far, near, layer / 4)
        level = horizon + (height - horizon) * (layer / 5) ** 1.25
        _ridge(image, dice, level=level, swing=height * (0.07 + 0.025 * layer), colour=colour, detail=detail)
        if layer == 1 and any(
            word in prompt.lower() for word in ("sea", "ocean", "lighthouse", "lake", "harbour", "harbor")
        ):
            _water(image, dice, level=level + height * 0.05, mid=sky_mid, low=sky_low, deep=near)
        if layer == 3 and "lighthouse" in prompt.lower():
            _lighthouse(image, dice, near, sky_low)
    return _finish(image, dice)


def transform(data: bytes, prompt: str, strength: float) -> Image.Image:
    """Repaint a picture in the colours of a prompt: posterised, brushed, and toned by `strength` from 0 to 1."""
    with Image.open(io.BytesIO(data)) as opened:
        original = ImageOps.exif_transpose(opened).convert("RGB")
    dice = random.Random(prompt)
    top, mid, low, _, near = _palette(prompt, dice)
    # Brushed before it is toned: the filter takes longer than all the rest, and three colours take it three times.
    brushed = ImageOps.autocontrast(original.convert("L")).filter(ImageFilter.ModeFilter(7))
    toned = ImageOps.colorize(brushed, near, low, mid).filter(ImageFilter.SMOOTH_MORE)
    edges = ImageOps.invert(original.convert("L").filter(ImageFilter.FIND_EDGES)).point(
        lambda v: 255 if v > 120 else 90
    )
    painted = ImageChops.multiply(toned, Image.merge("RGB", (edges, edges, edges)))
    glow = Image.new("RGB", painted.size, _rgb(top))
    painted = ImageChops.screen(painted, ImageEnhance.Brightness(glow).enhance(0.35))
    return Image.blend(original, painted, min(1.0, max(0.25, strength)))


def png(image: Image.Image) -> bytes:
    """Write the picture as a PNG file."""
    buffer = io.BytesIO()
    # Most of what a picture costs is to compress it: a fifth more bytes take a fifth of the time.
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _palette(prompt: str, dice: random.Random) -> tuple[str, str, str, str, str]:
    words = set(prompt.lower().split())
    for names, palette in _PALETTES.items():
        if words & set(names.split()):
            return palette
    return dice.choice(list(_PALETTES.values()))


def _gradient(width: int, height: int, colours: list[Colour]) -> Image.Image:
    column = Image.new("RGB", (1, len(colours)))
    column.putdata(colours)
    tall = column.resize((1, max(2, int(height * 0.72))), Image.Resampling.BICUBIC)
    strip = Image.new("RGB", (1, height), colours[-1])
    strip.paste(tall, (0, 0))
    return strip.resize((width, height))


def _stars(image: Image.Image, dice: random.Random, horizon: float) -> None:
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(int(image.width * horizon / 2200)):
        x, y = dice.uniform(0, image.width), horizon * dice.random() ** 1.8
        size = image.width / 900 * dice.uniform(0.4, 1.3)
        draw.ellipse((x - size, y - size, x + size, y + size), fill=(255, 255, 240, dice.randint(60, 220)))


def _sun(image: Image.Image, dice: random.Random, horizon: float, glow: Colour) -> None:
    x, y = image.width * dice.uniform(0.2, 0.8), horizon * dice.uniform(0.45, 0.88)
    radius = min(image.size) * dice.uniform(0.05, 0.085)
    # Drawn small and blown up: the light is soft, and a wide blur at full size would be slow.
    small = Image.new("L", (max(1, image.width // 8), max(1, image.height // 8)))
    draw = ImageDraw.Draw(small)
    for ring in range(12, 0, -1):
        reach = radius * (1 + ring * 0.55) / 8
        draw.ellipse(
            (x / 8 - reach, y / 8 - reach, x / 8 + reach, y / 8 + reach), fill=int(150 * (1 - ring / 13) ** 1.6)
        )
    halo = small.filter(ImageFilter.GaussianBlur(radius / 12)).resize(image.size, Image.Resampling.BICUBIC)
    image.paste(_mix(glow, (255, 255, 255), 0.35), (0, 0), halo)
    disc = Image.new("L", image.size)
    ImageDraw.Draw(disc).ellipse((x - radius, y - radius, x + radius, y + radius), fill=235)
    image.paste(_mix(glow, (255, 252, 240), 0.7), (0, 0), disc.filter(ImageFilter.GaussianBlur(max(0.6, radius / 40))))


def _clouds(image: Image.Image, dice: random.Random, horizon: float, colour: Colour) -> None:
    mask = Image.new("L", (max(1, image.width // 4), max(1, image.height // 4)))
    draw = ImageDraw.Draw(mask)
    for _ in range(dice.randint(3, 6)):
        y, x = horizon * dice.uniform(0.15, 0.85) / 4, dice.uniform(-0.1, 0.9) * mask.width
        for _ in range(9):
            w, h = mask.width * dice.uniform(0.05, 0.22), mask.height * dice.uniform(0.004, 0.013)
            cx, cy = x + dice.uniform(0, 0.3) * mask.width, y + dice.uniform(-1.6, 1.6) * h
            draw.ellipse((cx - w, cy - h, cx + w, cy + h), fill=dice.randint(40, 110))
    soft = mask.filter(ImageFilter.GaussianBlur(max(0.5, mask.width / 160))).resize(
        image.size, Image.Resampling.BICUBIC
    )
    image.paste(_mix(colour, (255, 255, 255), 0.25), (0, 0), soft)


def _ridge(image: Image.Image, dice: random.Random, *, level: float, swing: float, colour: Colour, detail: int) -> None:
    waves = [
        (dice.uniform(0.4, 1.1) * 1.9**n, dice.uniform(0, math.tau), 0.5**n) for n in range(2 + min(7, detail // 4))
    ]
    points = [(0.0, float(image.height))]
    for x in range(0, image.width + 4, 2):
        offset = sum(math.sin(x / image.width * math.tau * f + phase) * size for f, phase, size in waves)
        points.append((float(x), level - offset * swing * 0.6))
    points.append((image.width + 4.0, float(image.height)))
    ImageDraw.Draw(image).polygon(points, fill=colour)
    # Mist lies at the foot of each ridge, so that the next one stands out from it.
    mist = Image.linear_gradient("L").resize((image.width, max(1, int(swing * 2.2)))).point(lambda v: int(v * 0.28))
    image.paste(_mix(colour, (255, 255, 255), 0.4), (0, int(level)), mist)


def _water(image: Image.Image, dice: random.Random, *, level: float, mid: Colour, low: Colour, deep: Colour) -> None:
    top = int(level)
    if top >= image.height - 2:
        return
    sea = _gradient(image.width, image.height - top, [_mix(low, deep, 0.25), _mix(mid, deep, 0.45), deep])
    image.paste(sea, (0, top))
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(140):
        depth = dice.random() ** 1.5
        y, length = level + depth * (image.height - level), image.width * dice.uniform(0.01, 0.05) * (0.4 + depth)
        x, alpha = dice.uniform(0, image.width), int(70 * (1 - depth)) + 12
        draw.line(
            (x, y, x + length, y), fill=(*_mix(low, (255, 255, 255), 0.4), alpha), width=max(1, image.height // 420)
        )


def _lighthouse(image: Image.Image, dice: random.Random, dark: Colour, light: Colour) -> None:
    width, height = image.size
    x, foot, tall = width * dice.uniform(0.22, 0.78), height * 0.86, height * 0.4
    half, lamp = tall * 0.07, (width * 0.0, foot - tall)
    side = 1 if x < width / 2 else -1
    beam = Image.new("L", image.size)
    reach = width * 1.2 * side
    ImageDraw.Draw(beam).polygon(
        [(x, lamp[1]), (x + reach, lamp[1] - tall * 0.42), (x + reach, lamp[1] + tall * 0.1)], fill=105
    )
    fade = Image.linear_gradient("L").rotate(90 if side < 0 else -90).resize(image.size)
    beam = ImageChops.multiply(beam.filter(ImageFilter.GaussianBlur(max(1.0, width / 130))), fade)
    image.paste((255, 244, 205), (0, 0), beam)
    draw = ImageDraw.Draw(image)
    body, shade = _mix(dark, (255, 255, 255), 0.82), _mix(dark, light, 0.25)
    for band in range(5):
        upper, lower = foot - tall * (0.86 - band * 0.2), foot - tall * (0.66 - band * 0.2)
        a, b = half * (0.62 + 0.09 * band), half * (0.62 + 0.09 * (band + 1))
        draw.polygon([(x - a, upper), (x + a, upper), (x + b, lower), (x - b, lower)], fill=shade if band % 2 else body)
    top = foot - tall * 0.86
    draw.rectangle((x - half * 0.85, top - half * 0.25, x + half * 0.85, top), fill=dark)
    draw.rectangle((x - half * 0.45, top - half * 1.35, x + half * 0.45, top - half * 0.25), fill=(255, 236, 170))
    draw.polygon(
        [(x - half * 0.7, top - half * 1.3), (x + half * 0.7, top - half * 1.3), (x, top - half * 2.2)], fill=dark
    )


def _finish(image: Image.Image, dice: random.Random) -> Image.Image:
    # A little grain, from the same dice as the rest: the same prompt and seed give the same bytes.
    size = (max(1, image.width // 2), max(1, image.height // 2))
    noise = Image.frombytes("L", size, dice.randbytes(size[0] * size[1])).resize(image.size)
    grain = Image.blend(Image.new("L", image.size, 128), noise, 0.06)
    return ImageChops.overlay(image, grain.convert("RGB"))


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def _rgb(code: str) -> Colour:
    return (int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16))


def _luminance(colour: Colour) -> float:
    return colorsys.rgb_to_hls(*(part / 255 for part in colour))[1] * 255
