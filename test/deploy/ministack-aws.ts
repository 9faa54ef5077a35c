import { join } from "node:path";
import { ministackIsInstalled, startMinistack } from "../../scripts/local-aws/ministack.ts";
import type { Ground, LocalAws } from "./ground.ts";

async function ground(directory: string, region: string, accountId: string): Promise<Ground> {
  const { env, stop } = await startMinistack({ directory, region, accountId });
  return { region, accountId, env, cut: stop };
}

/** MiniStack: two processes, so two sites that share nothing, in regions and accounts of their own. */
export const ministackAws: LocalAws = {
  name: "MiniStack",
  authorizes: true,
  namePrefix: "",
  async whyNot() {
    return ministackIsInstalled() ? undefined : "needs ministack: npm run setup:peers";
  },
  async open(directory) {
    const [paris, berlin] = await Promise.all([
      ground(join(directory, "ministack-paris"), "eu-west-3", "111111111111"),
      ground(join(directory, "ministack-berlin"), "eu-central-1", "222222222222"),
    ]);
    return { paris, berlin, close: async () => void (await Promise.all([paris.cut(), berlin.cut()])) };
  },
};
