import { make, part } from "./elements.js";

/** The words of this page that not everybody knows, in plain ones. @type {Record<string, [string, string]>} */
const WORDS = {
  delay: [
    "Server delay",
    "From the arrival of a camera frame at the server until the portrait made from it is sent. Over the last two seconds; the network and your browser come on top.",
  ],
  typical: ["Typical", "The middle one: half of the frames took less (p50)."],
  slow: ["Slow", "19 of 20 frames took less (p95)."],
  trip: ["Round trip", "A message to the server and back, without any picture."],
  skew: ["Lip sync", "By how much your sound leaves the server after the picture of the same moment; below zero it is before it. Under 40 ms nobody notices."],
  calm: ["Calming delay", "How much later the motion is because it is made calmer. Less calmness, less delay."],
  stages: [
    "Server stages",
    "Where a frame's time in the server goes, on average over the last two seconds: the same window as the server delay, whose figures are the middle and the slow frames instead.",
  ],
  glass: ["Glass to glass", "From your camera's frame in this page to the portrait on it: everything but the camera itself and the display."],
  codec: ["Codec", "How pictures are packed for the network. Automatic suits almost everybody."],
  buffer: ["Jitter buffer", "How long your browser holds a picture back to even out the network."],
  rest: ["Resting face", "Your relaxed face, eyes open and mouth closed. Recalibrate takes it anew."],
  exact: ["Copied exactly", "On: as far open as yours. Off: only what differs from your resting face is added to the portrait's own."],
};

/** What a server calls its stages: a plain name, and what happens in it. @type {Record<string, [string, string]>} */
export const STAGES = {
  decode: ["receive", "Receiving and unpacking the camera's picture (decode)"],
  convert: ["convert", "Turning the camera's picture into red, green and blue (convert)"],
  post: ["pass on", "Handing the picture to the engine's process (post)"],
  wait: ["wait", "Waiting until the engine takes it (wait)"],
  track: ["track face", "Finding your face and its points (track)"],
  occlusion: ["see hands", "Finding what stands in front of your face (occlusion)"],
  features: ["read face", "Measuring pose, mouth, eyes and brows (features)"],
  queue: ["queue", "Waiting for the portrait's own step (queue)"],
  inputs: ["prepare", "Preparing what moves the portrait (inputs)"],
  gather: ["gather", "Waiting a moment for other sessions, to be drawn together with them (gather)"],
  render: ["draw", "Drawing the moved portrait (render)"],
  paste: ["blend in", "Putting the moved face back into the whole portrait (paste)"],
  planes: ["to video", "Turning the portrait into the colours that video uses (planes)"],
  fetch: ["fetch", "Taking the portrait out of the engine's process (fetch)"],
  deliver: ["send", "The AI mark, and until the sender takes the picture (deliver)"],
};

/** Explains every element with data-word: a tooltip, a description for those who listen, and a list to be opened. */
export function explainWords() {
  const list = part("words");
  for (const [name, [word, meaning]] of Object.entries(WORDS)) {
    const text = make("dd", "", meaning);
    text.id = `word-${name}`;
    list.append(make("dt", "", word), text);
  }
  for (const element of document.querySelectorAll("[data-word]")) {
    if (!(element instanceof HTMLElement)) continue;
    const name = element.dataset.word ?? "";
    if (!(name in WORDS)) throw new Error(`no word is explained as ${name}`);
    element.title = WORDS[name][1];
    element.setAttribute("aria-describedby", `word-${name}`);
  }
}
