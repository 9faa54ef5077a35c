import type { AwsAccount } from "../../scripts/local-aws/account.ts";
import type { Ministack } from "../../scripts/local-aws/ministack.ts";

/** The two sites of the suite: berlin recovers what paris protects. */
export type SiteRole = "paris" | "berlin";

/** Where one site goes. */
export interface Ground extends AwsAccount {
  /** Puts all of it out of reach at once, as a region that is lost; where nobody can do that, nothing. */
  cut(): Promise<void>;
  /** What was cut is back, as it was. */
  restore(): Promise<void>;
  /** As a local AWS has it (scripts/local-aws/ministack.ts); absent where nobody can get at a function's process. */
  readonly killFunction?: Ministack["killFunction"];
}

export interface Grounds {
  readonly paris: Ground;
  readonly berlin: Ground;
  /** Ends what was started; what was deployed is removed by then. */
  close(): Promise<void>;
}

/** One kind of AWS, real or local, that the suite runs on. */
export interface LocalAws {
  readonly name: string;
  /** Whether signatures are checked and policies evaluated; where they aren't, the tests of refusals are skipped. */
  readonly authorizes: boolean;
  /** Before the names of sites: empty where each run has a ground of its own. */
  readonly namePrefix: string;
  /** Why the suite can't run on it on this machine, and the cure. */
  whyNot(): Promise<string | undefined>;
  /** Starts it, with `directory` for files of its own. */
  open(directory: string): Promise<Grounds>;
}
