"""FFmpeg's WHIP muxer, as PyAV has it, in a process of its own (it holds the interpreter while it connects).

    python ffmpeg_publish.py ADDRESS TOKEN FRAMES [CERTIFICATE KEY]

It prints "published" when it could send, and FFmpeg's own error where it could not.
"""

import sys
import time
from fractions import Fraction

import av
import numpy as np

RATE, SAMPLES = 15, 960


def main() -> None:
    address, token, frames, *own = sys.argv[1:]
    options = {"authorization": token} | dict(zip(("cert_file", "key_file"), own))
    with av.open(address, "w", format="whip", options=options) as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {"preset": "veryfast", "tune": "zerolatency", "g": "15"}
        stream.codec_context.profile = "Main"
        sound = container.add_stream("libopus", rate=48000, layout="stereo", options={"b": "64000"})
        heard = 0
        for number in range(int(frames)):
            frame = av.VideoFrame.from_ndarray(np.full((360, 320), number * 4 % 256, np.uint8), "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
            while heard * RATE < (number + 1) * 48000:  # a muxer waits for the other stream
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 2 * SAMPLES), np.int16), "s16", "stereo")
                silence.sample_rate, silence.pts, silence.time_base = 48000, heard, Fraction(1, 48000)
                container.mux(sound.encode(silence))
                heard += SAMPLES
            time.sleep(1 / RATE)
    print("published", flush=True)


if __name__ == "__main__":
    try:
        main()
    except av.FFmpegError as error:
        print(error, flush=True)
