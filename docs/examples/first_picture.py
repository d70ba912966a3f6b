"""Draw a picture, show its progress, and print its path: `python first_picture.py a lighthouse at dusk`."""

import asyncio
import sys

from cyberun_async import AsyncClient, CyberunError, ProgressEvent, StatusEvent, TaskEvent, text_bar


def show(event: TaskEvent) -> None:
    match event:
        case StatusEvent(status=status):
            print(status)
        case ProgressEvent(progress=float(done), step_current=step, step_total=total):
            print(f"{text_bar(done)}  step {step} of {total}")


async def main(prompt: str) -> None:
    async with AsyncClient() as client:
        result = await client.run("text-to-image", {"prompt": prompt}, on_event=show, timeout=600)
        for path in await client.download(result, "."):
            print(path)


if __name__ == "__main__":
    try:
        asyncio.run(main(" ".join(sys.argv[1:]) or "a lighthouse at dusk"))
    except CyberunError as error:
        sys.exit(f"{type(error).__name__}: {error}")
