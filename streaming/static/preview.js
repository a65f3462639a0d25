const PREVIEW_PX = 240;

/**
 * Shows a file's picture in a canvas, square, its middle a little above the centre; hides the canvas where this browser
 * does not read it.
 *
 * @param {Blob} file
 * @param {HTMLCanvasElement} canvas
 */
export async function preview(file, canvas) {
  canvas.hidden = true;
  /** @type {ImageBitmap} */
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return; // no picture that this browser reads: the server says what it thinks of it
  }
  const side = Math.min(picture.width, picture.height);
  canvas.width = canvas.height = PREVIEW_PX;
  const [left, top] = [(picture.width - side) / 2, (picture.height - side) / 3];
  canvas.getContext("2d")?.drawImage(picture, left, top, side, side, 0, 0, PREVIEW_PX, PREVIEW_PX);
  picture.close();
  canvas.hidden = false;
}
