import { join } from "node:path";
import { ministackIsInstalled, startMinistack } from "../../scripts/local-aws/ministack.ts";
import type { Ground, LocalAws } from "./ground.ts";

interface MinistackGround extends Ground {
  stop(): Promise<void>;
}

async function ground(folder: string, site: string, region: string, accountId: string): Promise<MinistackGround> {
  const directory = join(folder, `ministack-${site}`);
  const neighbours = join(folder, "neighbours");
  const started = await startMinistack({ directory, region, accountId, neighbours });
  const { env, freeze, thaw, stop, killFunction } = started;
  return { region, accountId, env, cut: async () => freeze(), restore: async () => thaw(), stop, killFunction };
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
      ground(directory, "paris", "eu-west-3", "111111111111"),
      ground(directory, "berlin", "eu-central-1", "222222222222"),
    ]);
    return { paris, berlin, close: async () => void (await Promise.all([paris.stop(), berlin.stop()])) };
  },
};
