"""The workflows that every local Cyberun has from the start."""

from __future__ import annotations

from ._pictures import landscape, png, transform
from ._workflows import Job, LocalParameter, LocalWorkflow, Output
from .scripts import Step, after, complete, fail, progress, status, usual_life

_PROMPT = LocalParameter(
    "prompt", required=True, description="What the picture should show.", node_id="6", field="text"
)
_NEGATIVE = LocalParameter(
    "negative_prompt", default="", description="What it should not show.", node_id="7", field="text"
)
_SEED = LocalParameter(
    "seed", "number", description="Left out, one is drawn.", min=0, max=2**32 - 1, node_id="3", field="seed"
)
_STEPS = LocalParameter("steps", "number", default=20, min=1, max=100, node_id="3", field="steps")
_WIDTH = LocalParameter("width", "number", default=768, min=64, max=2048, node_id="5", field="width")
_HEIGHT = LocalParameter("height", "number", default=512, min=64, max=2048, node_id="5", field="height")
_STYLE = LocalParameter("style", "select", default="natural", options=("natural", "vivid", "muted"))


def _text_to_image(job: Job) -> Output:
    return Output(_draw(job, job.number("seed")), "output_00001_.png", "image/png")


def _draw(job: Job, seed: int) -> bytes:
    image = landscape(
        f"{job.text('prompt')} {job.text('style')}".strip(),
        seed,
        job.number("width"),
        job.number("height"),
        detail=job.number("steps"),
        avoid=job.text("negative_prompt"),
    )
    return png(image)


def _img2img(job: Job) -> Output:
    strength = job.parameters.get("strength")
    image = transform(job.input("image"), job.text("prompt"), strength if isinstance(strength, (int, float)) else 0.75)
    return Output(png(image), "output_00001_.png", "image/png")


def _image_set(job: Job) -> list[Output]:
    seeds = range(job.number("seed"), job.number("seed") + job.number("count"))
    return [
        Output(_draw(job, seed), f"image_{index:05}_.png", "image/png", key=f"9.images.{index}")
        for index, seed in enumerate(seeds)
    ]


def _point_cloud(_: Job) -> Output:
    header = (
        "ply\nformat ascii 1.0\nelement vertex 8\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    corners = "".join(f"{x} {y} {z}\n" for x in (0, 1) for y in (0, 1) for z in (0, 1))
    return Output((header + corners).encode(), "point_cloud.ply", "application/octet-stream")


def _training(job: Job) -> list[Step]:
    iterations = job.number("max_num_iterations")
    stages = {
        "download": "Downloading the input data",
        "process_data": "Matching features between frames",
        "train": f"Training for {iterations} iterations",
        "export": "Exporting the point cloud",
        "upload": "Uploading the result",
    }
    steps = [after(0.2), status("waiting"), after(0.3), status("queued"), after(0.3), status("running")]
    for index, (stage, message) in enumerate(stages.items()):
        for part in (1, 2, 3, 4):
            done = round((index + part / 4) / len(stages), 3)
            step = iterations * part // 4 if stage == "train" else part
            total = iterations if stage == "train" else 4
            steps += [after(0.25), progress(step, total, node=stage, fraction=done, stage=stage, message=message)]
    return [*steps, complete()]


def demo_workflows() -> list[LocalWorkflow]:
    """Make the demo workflows; ``text-to-image`` comes in two versions, so that ``text-to-image@1`` pins the older."""
    return [
        LocalWorkflow("text-to-image", _text_to_image, (_PROMPT, _SEED, _STEPS, _WIDTH, _HEIGHT)),
        LocalWorkflow(
            "text-to-image",
            _text_to_image,
            (_PROMPT, _NEGATIVE, _SEED, _STEPS, _WIDTH, _HEIGHT, _STYLE),
            description="A landscape that depends on the prompt and the seed.",
            required_models=("landscape-v1.safetensors",),
        ),
        LocalWorkflow(
            "img2img",
            _img2img,
            (
                LocalParameter("image", "file", required=True, accept=("image/png", "image/jpeg", "image/webp")),
                LocalParameter("prompt", default="dusk"),
                LocalParameter("strength", "number", default=0.75, min=0, max=1),
            ),
            display_name="Image to image",
            description="The uploaded picture, repainted in the colours of the prompt.",
        ),
        LocalWorkflow(
            "nerfstudio-train",
            _point_cloud,
            (
                LocalParameter(
                    "max_num_iterations", "number", default=3000, min=100, target_path="train.max_num_iterations"
                ),
                LocalParameter("use_gpu", "boolean", default=True),
            ),
            script=_training,
            description="A scene trained in five stages; the output is a small point cloud.",
            tool_type="nerfstudio",
            required_labels=("nerfstudio",),
        ),
        LocalWorkflow(
            "image-set",
            _image_set,
            (_PROMPT, _SEED, _STEPS, _WIDTH, _HEIGHT, LocalParameter("count", "number", default=3, min=1, max=8)),
            description="Several pictures of one prompt, sent back as a cloud task's download_urls.",
            is_cloud=True,
        ),
        LocalWorkflow(
            "always-fails",
            script=[*usual_life(6)[:-5], fail("ComfyUI execution error: CUDA out of memory")],
            description="Gets half-way and fails.",
        ),
        LocalWorkflow(
            "retired", _text_to_image, (_PROMPT,), description="Disabled: it refuses new tasks.", is_disabled=True
        ),
    ]
