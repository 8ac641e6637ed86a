// The microphone, and what can be wrong with it, in words.

const REASONS = {
  NotFoundError: "No microphone was found: plug one in and press the button again, or drop a sound file.",
  NotAllowedError:
    "The microphone was refused. Allow it beside the address of this page, and press the button again; or drop a sound file.",
  NotReadableError:
    "The microphone cannot be used: another program may have it, or the system forbids it. Close that program, and press the button again.",
};
REASONS.DevicesNotFoundError = REASONS.OverconstrainedError = REASONS.NotFoundError;
REASONS.SecurityError = REASONS.PermissionDeniedError = REASONS.NotAllowedError;
REASONS.AbortError = REASONS.NotReadableError;

export class MicrophoneError extends Error {}

// Chromium hands out the blocks of the device themselves. Its AudioWorklet loses some where the computer is busy: it
// waits for the loudspeaker's thread, and holds no more than a tenth of a second.
const hasProcessor = () => typeof MediaStreamTrackProcessor === "function";
const KEPT_BLOCKS = 60_000; // of ten milliseconds, for a worker that has no time
const START_MS = 5000;

// What keeps this browser from listening, or nothing.
export function findFault() {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia)
    return "A browser lends its microphone only to pages of this computer or over https: open the page there, or drop a sound file.";
  if (!hasProcessor() && typeof AudioWorkletNode !== "function")
    return "This browser has no AudioWorklet, which brings the sound to the network: update it, or drop a sound file.";
  return "";
}

// Open it; `onEnd` gets a reason when it is gone. Returns {sound, close}: sound is for the worker, a stream of blocks
// or the port to which they come.
export async function open(onEnd) {
  const fault = findFault();
  if (fault) throw new MicrophoneError(fault);
  let stream;
  try {
    // As it is: what a browser does for calls changes what a word sounds like.
    const plain = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  } catch (error) {
    throw new MicrophoneError(REASONS[error.name] ?? `The microphone cannot be used (${error.message}).`);
  }
  const [track] = stream.getAudioTracks();
  let context, sound;
  const close = () => {
    track.onended = null;
    track.stop();
    if (context && context.state !== "closed") context.close();
  };
  try {
    if (hasProcessor()) sound = new MediaStreamTrackProcessor({ track, maxBufferSize: KEPT_BLOCKS }).readable;
    else {
      context = new AudioContext();
      await context.audioWorklet.addModule("capture.js");
      const capture = new AudioWorkletNode(context, "capture");
      const { port1, port2 } = new MessageChannel();
      capture.port.postMessage(port1, [port1]);
      context.createMediaStreamSource(stream).connect(capture).connect(context.destination); // which stays silent
      // Without a loudspeaker, Firefox waits for one: for ever.
      const late = new Error("its sound does not start: connect a loudspeaker or headphones, and press the button again");
      await Promise.race([context.resume(), new Promise((_, reject) => setTimeout(reject, START_MS, late))]);
      sound = port2;
    }
  } catch (error) {
    close();
    throw new MicrophoneError(`This browser cannot take sound from the microphone (${error.message}).`);
  }
  track.onended = () => {
    close();
    onEnd("The microphone is gone: it was unplugged, or taken away from this page. Plug it in, and press the button again.");
  };
  return { sound, close };
}
