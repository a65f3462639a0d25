import { Refusal, readInfo } from "./api.js";
import { part, say } from "./elements.js";
import { setUpEnrolment } from "./enrol.js";
import { setUpInvites } from "./invite.js";
import { setUpKill } from "./kill.js";
import { lock } from "./locked.js";
import { Page } from "./page.js";
import { setUpReach } from "./reach.js";
import { setUpTabs } from "./tabs.js";
import { explainWords } from "./words.js";

async function main() {
  explainWords();
  setUpTabs();
  setUpReach();
  for (;;) {
    try {
      const info = await readInfo();
      if (info.admin) void setUpKill();
      setUpInvites(info);
      setUpEnrolment(info, new Page(info).turning);
      return;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      part("state").dataset.tone = "bad";
      say(part("state-text"), error.message);
      if (error.lockedOut) lock();
      if (!error.passing) return;
    }
    await new Promise((resolve) => window.setTimeout(resolve, 2000));
  }
}

void main();
