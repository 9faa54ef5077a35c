import type { TestContext } from "vitest";
import { ministackIsInstalled } from "../../scripts/local-aws/ministack.ts";

/** Skips the test, with the cure, where MiniStack isn't installed. */
export function requireMinistack(context: TestContext): void {
  if (!ministackIsInstalled()) context.skip("needs ministack: npm run setup:peers");
}
