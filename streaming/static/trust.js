import { part } from "./elements.js";
import { notice } from "./notices.js";
import { RecordingPanel, RecordingSign } from "./recording.js";
import { SelfCheckPanel } from "./self_check.js";
import { StatementPanel } from "./statement.js";

/** @import {Info, Message} from "./messages.js" */

/** What the page shows of a session's statement and of its recording. */
export class Trust {
  #statement = new StatementPanel(part("coach"));
  #sign = new RecordingSign(part("stage"));
  #recording;
  #check;
  #own;
  #turned;
  #withheld = "";

  /**
   * @param {Info} info
   * @param {() => string | null} session that runs now
   * @param {(message: object) => boolean} send to it
   * @param {() => boolean} own whether its portrait was added as oneself, and a camera moves it
   * @param {() => void} turned what is shown may not be shown any more, or may be again
   */
  constructor(info, session, send, own, turned) {
    this.#recording = new RecordingPanel(info, session);
    this.#check = new SelfCheckPanel(part("coach"), send);
    this.#own = own;
    this.#turned = turned;
  }

  /** @param {Message} message */
  heard({ statement, report }) {
    if (statement) void this.#statement.show(statement);
    if (!report) return;
    this.#recording.show(report.recording ?? null);
    this.#sign.show(Boolean(report.recording));
    this.#check.show(this.#own(), report.self_check);
    const withheld = report.withheld ?? "";
    if (withheld && withheld !== this.#withheld) notice(withheld, "bad");
    if (withheld !== this.#withheld) this.#turned();
    this.#withheld = withheld;
    document.documentElement.dataset.withheld = String(withheld !== "");
  }

  /** The session is over. */
  clear() {
    void this.#statement.show(null);
    this.#recording.show(null);
    this.#sign.show(false);
    this.#check.show(false, null);
    this.#withheld = "";
  }
}
