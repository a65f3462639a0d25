import { button } from "./elements.js";
import { notice } from "./notices.js";

/** @import {Driver} from "./messages.js" */

const NO_FACE_OF_YOURS = "Needs your camera: in the demo there is no resting face of yours to take";

/**
 * What its button does, in its words.
 *
 * @param {boolean} body the driver's whole body is followed
 * @param {Driver} driver
 */
export function nameRecalibration(body, driver) {
  const taken = body ? "Take the place where you stand now as the person's own" : "Take the face that you make now as your resting face";
  button("recalibrate").title = driver === "demo" ? NO_FACE_OF_YOURS : taken;
}

/** @param {boolean} body */
export function sayRecalibrated(body) {
  notice(body ? "Where you stand now is where the person stands." : "Rest your face and look into the camera for a second.");
}
