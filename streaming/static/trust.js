import { part } from "./elements.js";
import { RecordingPanel, RecordingSign } from "./recording.js";
import { StatementPanel } from "./statement.js";

/** @import {Info, Message} from "./messages.js" */

/** What the page shows of a session's statement and of its recording. */
export class Trust {
  #statement = new StatementPanel(part("coach"));
  #sign = new RecordingSign(part("stage"));
  #recording;

  /**
   * @param {Info} info
   * @param {() => string | null} session that runs now
   */
  constructor(info, session) {
    this.#recording = new RecordingPanel(info, session);
  }

  /** @param {Message} message */
  heard({ statement, report }) {
    if (statement) void this.#statement.show(statement);
    if (!report) return;
    this.#recording.show(report.recording ?? null);
    this.#sign.show(Boolean(report.recording));
  }

  /** The session is over. */
  clear() {
    void this.#statement.show(null);
    this.#recording.show(null);
    this.#sign.show(false);
  }
}
