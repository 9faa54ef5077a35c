import { rings } from "#core/alerts.ts";
import type { StatusReply } from "#core/api/site-api.ts";

/** A site in a few numbers, whatever it protects: what a person is called for, and what graphs are drawn of. */
export interface SiteFigures {
  readonly vpgs: number;
  /** Behind their target RPO, short of their history, or not replicating. */
  readonly vpgsNotMeetingSla: number;
  /** Of the VPG that is furthest behind; null while no VPG has a checkpoint. */
  readonly rpoMsMax: number | null;
  readonly backlogBytes: number;
  readonly operationsOpen: number;
  /** Those of its alerts that no other alarm and no notice tells of. */
  readonly alertsStanding: number;
}

const notMeeting: ReadonlySet<string> = new Set(["NotMeetingSLA", "RpoNotMeetingSLA", "HistoryNotMeetingSLA"]);

export function siteFigures({
  vpgs,
  operations,
  alerts,
}: Pick<StatusReply, "vpgs" | "operations" | "alerts">): SiteFigures {
  // What this site has taken over, or journals no more, has no RPO any more.
  const protectedHere = vpgs.filter(({ role }) => role === "Journal");
  const rpos = protectedHere.flatMap(({ rpoMs }) => rpoMs ?? []);
  return {
    vpgs: vpgs.length,
    vpgsNotMeetingSla: vpgs.filter(({ status }) => notMeeting.has(status)).length,
    rpoMsMax: rpos.length === 0 ? null : Math.max(...rpos),
    backlogBytes: protectedHere.reduce((sum, { backlogBytes }) => sum + backlogBytes, 0),
    operationsOpen: operations.length,
    alertsStanding: alerts.filter(({ alertId }) => rings(alertId)).length,
  };
}
