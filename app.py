"""A page with a microphone: say a word, see what is recognised, and how sure the network is.

    python app.py                      http://127.0.0.1:7860, for this computer alone
    python app.py --model runs/best
    python app.py --port 8000

Needs Gradio: pip install --group app
"""

import base64
import functools
import html
import io
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from utils import memory

memory.share_freed_memory()  # before TensorFlow starts its threads

from utils import audio, cli, features, plots, recogniser, voices  # noqa: E402
from utils.cli import CourseError  # noqa: E402
from utils.labels import SILENCE, UNKNOWN  # noqa: E402
from utils.stream import Stream  # noqa: E402

MAX_FILE = "10mb"
MAX_SECONDS = 60
MAX_WAITING = 100  # requests; those that come later are told to try again
MAX_THREADS = 4  # that answer; memory grows with them, speed does not
KEPT_SECONDS = 600  # how long a recording lies in the temporary folder
EXAMPLES = ("yes", "no", "left", "right", "stop", "go", "marvin")
BLOCK_SECONDS = 0.25  # of the microphone, in live mode
LAYOUT = {"left": 0.1, "right": 0.98, "bottom": 0.12, "top": 0.93, "hspace": 0.3}
HEARD = 8  # words of live mode that stay on the page

CSS = """
.answer p { font-size: clamp(2.5rem, 12vw, 5rem); font-weight: 700; line-height: 1.25; margin: 0; text-align: center }
.answer small { display: block; font-size: 1rem; font-weight: 400 }
.answer .problem { font-size: 1.25rem; font-weight: 400 }
.picture img { width: 100% }
.notice p { background: #8a1c1c; border-radius: 6px; color: #fff; margin: 0; padding: 0.6em }
.heard li { font-variant-numeric: tabular-nums; list-style: none }
"""

# A screen reader says what changes in these; a microphone that is missing is told before it is asked for.
ON_LOAD = """async () => {
    for (const name of ["answer", "live_answer", "notice"])
        for (const element of document.getElementsByClassName(name)) element.setAttribute("role", "status")
    if (!navigator.mediaDevices)
        return "<p>A browser lends its microphone only to pages of this computer or over https: drop a file.</p>"
    const devices = await navigator.mediaDevices.enumerateDevices()
    if (!devices.some(device => device.kind === "audioinput"))
        return "<p>No microphone was found: plug one in and load this page again, or drop a sound file.</p>"
    return ""
}"""


@functools.lru_cache(maxsize=4)
def load(folder, modified):
    """Model of a run folder, kept until the folder changes."""
    return recogniser.load(folder)


def open_model(folder):
    """The model of a run folder as it is now."""
    try:
        return load(folder, Path(folder).stat().st_mtime)
    except FileNotFoundError as error:
        raise CourseError(f"{folder} is not there any more: choose another model") from error


def recognise(path, folder):
    """What is said in a sound file: answer (HTML), probabilities by label, picture (HTML)."""
    if path is None:
        return "", None, ""
    try:
        cancelled = set()
        samples = audio.read_sound(path, (MAX_SECONDS + 1) * audio.SAMPLE_RATE, cancelled)
        if len(samples) > MAX_SECONDS * audio.SAMPLE_RATE:
            raise audio.WavError(f"longer than {MAX_SECONDS} s: cut it, or use python predict.py --stream")
        clip = audio.loudest_second(samples)
        model = open_model(folder)
    except audio.WavError as reason:
        return show_problem(f"This file cannot be heard: {reason}."), None, ""
    except CourseError as error:
        return show_problem(str(error)), None, ""
    waveform = audio.to_waveform(clip)
    probabilities = model(waveform[None])[0]
    if audio.is_knock(clip):
        probabilities = np.array([float(label == SILENCE) for label in model.labels])
    best = int(probabilities.argmax())
    note = ", by the loudest channel: the channels cancel each other out" if cancelled else ""
    answer = show_answer(model.labels[best], f"{probabilities[best]:.0%} sure{note}")
    return answer, dict(zip(model.labels, map(float, probabilities))), draw(waveform, model.labels[best])


def show_answer(label, note):
    """The answer in large type, a note in small."""
    return f"<p>{html.escape(label)}<small>{note}</small></p>"


def show_problem(text):
    """What went wrong, where the answer would be."""
    return f'<p class="problem">{html.escape(text)}</p>'


def draw(waveform, label):
    """Waveform and log-mel spectrogram of a second, as a picture in HTML."""
    figure = Figure(figsize=(7, 4.2))
    # A layout that is worked out anew for each picture would take as long again as the picture.
    upper, lower = figure.subplots(2, sharex=True, gridspec_kw=LAYOUT)
    plots.plot_waveform(upper, waveform).set(xlabel=None, title="waveform")
    plots.plot_log_mel(lower, features.log_mel(waveform[None])[0]).set(xlabel="time (s)", title="log-mel spectrogram")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    text = f"Waveform and log-mel spectrogram of the second that was heard as {label}"
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}">'


class Session:
    """Live mode of one visitor: the microphone's blocks, at whatever rate, to words."""

    def __init__(self, folder):
        self.folder, self._stream, self._resampler, self._heard = folder, Stream(open_model(folder)), None, []

    def hear(self, sample_rate, samples):
        """Feed a block; the words heard so far, the last first, and the averaged probabilities by label."""
        import soxr

        waveform = samples.astype(np.float32) / 32768
        waveform = waveform.mean(axis=1) if waveform.ndim == 2 else waveform
        if self._resampler is None or self._resampler[0] != sample_rate:
            self._resampler = sample_rate, soxr.ResampleStream(sample_rate, audio.SAMPLE_RATE, 1, dtype="float32")
        waveform = self._resampler[1].resample_chunk(waveform)
        counts = np.clip(np.round(waveform * 32768), -32768, 32767).astype(np.int16)
        self._heard = [*self._stream.feed(counts)[::-1], *self._heard][:HEARD]
        decoder = self._stream.decoder
        return self._heard, dict(zip(decoder.labels, map(float, decoder.probabilities)))


def listen(block, folder, session):
    """One block of the microphone: answer (HTML), probabilities, words with times (HTML), session."""
    if block is None:
        return "", None, "", None
    try:
        if session is None or session.folder != folder:
            session = Session(folder)
        heard, probabilities = session.hear(*block)
    except CourseError as error:
        return show_problem(str(error)), None, "", None
    answer = show_answer(heard[0].label, f"at {heard[0].seconds:.1f} s") if heard else show_answer("…", "listening")
    lines = "".join(f"<li>{word.seconds:7.1f} s  {html.escape(word.label)}</li>" for word in heard)
    return answer, probabilities, f"<ul>{lines}</ul>", session


def build_page(folder, examples):
    """The page, with a model chosen and example sounds: gradio.Blocks."""
    import gradio as gr

    folders = dict.fromkeys([Path(folder), *recogniser.list_folders()])
    choices = [(path.name, str(path)) for path in folders]
    with gr.Blocks(title="Spoken commands", analytics_enabled=False, delete_cache=(KEPT_SECONDS,) * 2) as page:
        words = ", ".join(label for label in open_model(str(folder)).labels if label not in (SILENCE, UNKNOWN))
        gr.Markdown(f"# Spoken commands\nSay one of: **{words}**. Anything else should be *unknown*.")
        notice = gr.HTML(elem_classes="notice")
        model = gr.Dropdown(choices, value=str(folder), label="Model", filterable=False)
        with gr.Tab("One word"):
            with gr.Row():
                with gr.Column():
                    # No button to share: what is said stays on this computer.
                    sound = gr.Audio(
                        sources=["microphone", "upload"],
                        type="filepath",
                        buttons=["download"],
                        label="Record a word, or drop a sound file",
                    )
                    names = [path.parent.name for path in examples]
                    gr.Examples(
                        [[str(path)] for path in examples], sound, example_labels=names, label="Built-in voices"
                    )
                answer = gr.HTML(elem_classes="answer")
            with gr.Row():
                picture = gr.HTML(elem_classes="picture", min_width=320)
                bars = gr.Label(label="Probabilities", show_heading=False, min_width=320)
        with gr.Tab("Live"), gr.Row():
            with gr.Column():
                microphone = gr.Audio(sources=["microphone"], streaming=True, buttons=[], label="Keep listening")
                live_answer = gr.HTML(elem_classes=["answer", "live_answer"])
                heard = gr.HTML(elem_classes="heard")
            live_bars = gr.Label(label="Probabilities", show_heading=False)
        session = gr.State(time_to_live=KEPT_SECONDS)

        page.load(None, outputs=notice, js=ON_LOAD)
        for change in (sound.change, model.change):
            change(recognise, [sound, model], [answer, bars, picture], show_progress="hidden")
        microphone.start_recording(lambda: None, outputs=session, show_progress="hidden")
        microphone.stream(
            listen,
            [microphone, model, session],
            [live_answer, live_bars, heard, session],
            stream_every=BLOCK_SECONDS,
            show_progress="hidden",
        )
    return page


def main(arguments=None):
    """Serve the page until it is interrupted."""
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", type=cli.path_text, help="run folder (default: runs/latest, or pretrained where there is none)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; another lets others in")
    parser.add_argument("--port", type=cli.positive_int, default=7860, help="port to listen on")
    options = parser.parse_args(arguments)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio  # noqa: F401  after the environment is set; its absence is told before the model is loaded
    except ModuleNotFoundError as error:
        raise CourseError("the page needs Gradio: pip install --group app") from error
    with tempfile.TemporaryDirectory() as folder:
        page = build_page(recogniser.find_folder(options.model), voices.make_examples(folder, EXAMPLES))
        page.queue(max_size=MAX_WAITING)
        try:
            page.launch(
                server_name=options.host,
                server_port=options.port,
                max_file_size=MAX_FILE,
                css=CSS,
                footer_links=[],
                ssr_mode=False,
                quiet=True,
                max_threads=MAX_THREADS,
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise CourseError(
                f"{options.host}:{options.port} is in use, perhaps by this page: choose another --port"
            ) from error
        print(f"open http://{options.host}:{options.port} (Ctrl-C ends)", flush=True)
        page.block_thread()


if __name__ == "__main__":
    sys.exit(cli.run(main))
