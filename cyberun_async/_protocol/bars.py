"""Progress as text, for where there is nothing but text."""


def text_bar(progress: float | None, width: int = 10) -> str:
    """Draw progress from 0.0 to 1.0 as `▰▰▰▱▱▱▱▱▱▱ 30 %`; what is not known is empty."""
    part = min(max(progress or 0.0, 0.0), 1.0)
    full = int(part * width)
    return f"{'▰' * full}{'▱' * (width - full)} {part:.0%}".replace("%", " %")
