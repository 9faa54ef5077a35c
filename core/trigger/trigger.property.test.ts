import fc from "fast-check";
import { expect, it } from "vitest";
import { FarshoreError } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { endOperation } from "#core/recovery/end-operation.ts";
import { holds } from "../../test/kit/property.ts";
import { approver, everyMs, TriggerSite } from "../../test/kit/trigger-site.ts";
import { answerApproval } from "./approval.ts";
import type { Incident } from "./incident.ts";
import { triggerLimits } from "./limits.ts";
import { monitor } from "./monitor.ts";
import { receiveEvent } from "./receive-event.ts";

type Step =
  | { readonly kind: "look"; readonly passMs: number; readonly atOnce: number }
  | { readonly kind: "silence"; readonly looks: number }
  | { readonly kind: "beat" }
  | { readonly kind: "pass"; readonly ms: number }
  | { readonly kind: "jump"; readonly ms: number }
  | { readonly kind: "event"; readonly id: number; readonly lateMs: number; readonly source: "oncall" | "other" }
  | { readonly kind: "answer"; readonly decision: "approved" | "rejected" }
  | { readonly kind: "recovery"; readonly heard: boolean }
  | { readonly kind: "end-operation" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("look"),
      passMs: fc.constantFrom(100, 2000, 5000, 6000, 12_000, 20_000),
      atOnce: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("silence"), looks: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("beat") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("pass"), ms: fc.integer({ min: 1, max: 200_000 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("jump"),
      ms: fc.constantFrom(-3_600_000, -20_000, -300, 300, 20_000, 3_600_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("event"),
      id: fc.integer({ min: 1, max: 4 }),
      lateMs: fc.constantFrom(0, 30_000, 10_000_000),
      source: fc.constantFrom("oncall", "other"),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("answer"), decision: fc.constantFrom("approved", "rejected") }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("recovery"), heard: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("end-operation") }) },
);

const policy = fc.record({
  policy: fc.constantFrom("off", "notify", "approve", "automatic"),
  minimumDurationMs: fc.constantFrom(10_000, 17_000, 40_000),
  coolDownMs: fc.constantFrom(0, 30_000, 300_000),
  approvalExpiryMs: fc.constantFrom(60_000, 600_000),
  confirmBy: fc.constantFrom<string[]>([], ["oncall"]),
});
type Policy = typeof policy extends fc.Arbitrary<infer T> ? T : never;

const isNear = (now: number, at: number): boolean => Math.abs(now - at) <= protectionLimits.heartbeatSilenceMs;

/** What an onlooker knows who shares no code with the rule: when the monitor ran, and when the source was last heard. */
class Onlooker {
  readonly looks: { readonly at: number; readonly heard: boolean }[] = [];
  heardAt = Number.NEGATIVE_INFINITY;
  recoveryAt = Number.NEGATIVE_INFINITY;
  /** Failovers since the source was last heard. */
  outageStarts = 0;
  approved = false;

  /** The unbroken silence that ends with the last look: how many looks, and from when to when. */
  silence(): { readonly looks: number; readonly ms: number } {
    const chain: number[] = [];
    for (const { at, heard } of this.looks.toReversed()) {
      const next = chain.at(-1);
      if (heard || (next !== undefined && (next < at || next - at > triggerLimits.gapIntervalsMax * everyMs))) break;
      chain.push(at);
    }
    // Looks that follow each other at once are one.
    let counted = Number.NEGATIVE_INFINITY;
    const looks = chain.toReversed().filter((at) => {
      if (at - counted < everyMs / 2) return false;
      counted = at;
      return true;
    });
    return { looks: looks.length, ms: (chain[0] ?? 0) - (chain.at(-1) ?? 0) };
  }
}

class Play {
  readonly world: TriggerSite;
  readonly policy: Policy;
  readonly onlooker = new Onlooker();
  recoveryHeard = true;
  /** Operations seen so far; ids are no order where the clock jumps. */
  readonly #known = new Set<Id>();

  constructor(world: TriggerSite, chosen: Policy) {
    this.world = world;
    this.policy = chosen;
  }

  /** The open one, or any. */
  async incident(): Promise<Incident | undefined> {
    const incidents = await this.world.incidents();
    return incidents.find(({ state }) => state !== "closed") ?? incidents[0];
  }

  async beat(): Promise<void> {
    await this.world.beat("source");
    this.onlooker.heardAt = this.world.clock.now();
    this.onlooker.outageStarts = 0;
    this.onlooker.approved = false;
  }

  async look(passMs = everyMs, atOnce = 1): Promise<void> {
    await this.world.pass(passMs);
    if (this.recoveryHeard) await this.world.beat("recovery");
    const now = this.world.clock.now();
    if (this.recoveryHeard) this.onlooker.recoveryAt = now;
    // Also what came and went between two looks of a silence.
    const last = this.onlooker.looks.at(-1);
    const before = last === undefined || last.heard ? Number.POSITIVE_INFINITY : last.at;
    const heard =
      isNear(now, this.onlooker.heardAt) || (before < this.onlooker.heardAt && this.onlooker.heardAt <= now);
    this.onlooker.looks.push({ at: now, heard });
    await Promise.all(Array.from({ length: atOnce }, () => monitor(this.world.site, everyMs)));
    await this.judge(heard);
  }

  /** What may never happen, looked at after each run of the monitor. */
  async judge(heard: boolean): Promise<void> {
    const operations = await this.world.operations();
    const incidents = await this.world.incidents();
    expect(incidents.filter(({ state }) => state !== "closed").length).toBeLessThanOrEqual(1);
    const [made, ...more] = operations.filter((id) => !this.#known.has(id));
    if (made === undefined) return;
    expect(more).toEqual([]);
    this.#known.add(made);
    this.onlooker.outageStarts += 1;
    expect(this.onlooker.outageStarts).toBe(1);
    expect(["approve", "automatic"]).toContain(this.policy.policy);
    const recoveryHeard = isNear(this.world.clock.now(), this.onlooker.recoveryAt);
    expect({ heard, recoveryHeard }).toEqual({ heard: false, recoveryHeard: true });
    const { looks, ms } = this.onlooker.silence();
    expect(looks).toBeGreaterThanOrEqual(triggerLimits.looksMin);
    if (this.policy.policy === "approve") expect(this.onlooker.approved).toBe(true);
    else if (!this.policy.confirmBy.includes("oncall"))
      expect(ms).toBeGreaterThanOrEqual(this.policy.minimumDurationMs);
    expect(incidents.find(({ incidentId }) => incidentId === made)?.state).toBe("started");
  }

  async answer(decision: "approved" | "rejected"): Promise<void> {
    const incident = await this.incident();
    if (incident === undefined) return;
    try {
      await answerApproval(this.world.site, approver, incident.incidentId, { decision, notes: "" });
      if (decision === "approved" && incident.state !== "closed") this.onlooker.approved = true;
    } catch (error) {
      if (!(error instanceof FarshoreError)) throw error;
      expect(["AlreadyDecided", "ApprovalExpired", "SourceRecovered", "InvalidInput"]).toContain(error.name);
    }
  }

  async event({ id, lateMs, source }: Step & { readonly kind: "event" }): Promise<void> {
    const time = new Date(this.world.clock.now() - lateMs).toISOString();
    const event = { id: `e${id}`, source, "detail-type": "x", time, detail: { vpg: "shop", reason: "smoke" } };
    const received = receiveEvent(this.world.site, event);
    if (lateMs > triggerLimits.hintMs) await expect(received).rejects.toMatchObject({ name: "InvalidInput" });
    else await received;
  }

  async endOperation(): Promise<void> {
    const { operationId } = await getVpg(this.world.site, "shop");
    if (operationId !== null) await endOperation(this.world.site, operationId);
  }

  async take(next: Step): Promise<void> {
    switch (next.kind) {
      case "look":
        return this.look(next.passMs, next.atOnce);
      case "silence":
        for (let count = 0; count < next.looks; count += 1) await this.look();
        return;
      case "beat":
        return this.beat();
      case "pass":
        return this.world.pass(next.ms);
      case "jump":
        this.world.clock.offsetMs += next.ms;
        return;
      case "event":
        return this.event(next);
      case "answer":
        return this.answer(next.decision);
      case "recovery":
        this.recoveryHeard = next.heard;
        return;
      case "end-operation":
        return this.endOperation();
    }
  }

  /** Whatever came before: the source's return closes what hasn't started, and its next outage ends as the policy says. */
  async conclude(): Promise<void> {
    this.recoveryHeard = true;
    await this.endOperation();
    const quietLooks = Math.ceil((triggerLimits.hintMs + this.policy.coolDownMs) / 200_000) + 3;
    for (let count = 0; count < quietLooks; count += 1) {
      await this.world.pass(200_000);
      await this.beat();
      await this.look(100);
    }
    expect((await this.world.incidents()).filter(({ state }) => state !== "closed")).toEqual([]);
    const before = this.#known.size;
    for (let count = 0; count < 20; count += 1) await this.look();
    if (this.policy.policy === "approve") {
      // The approval may have ended meanwhile: what was in time is approved, what was late is refused by name.
      const incident = await this.incident();
      expect(incident?.approval).not.toBeNull();
      await this.answer("approved");
      await this.look();
      const inTime = incident?.state === "awaiting-approval";
      expect(this.#known.size - before).toBe(inTime ? 1 : 0);
    } else {
      expect(this.#known.size - before).toBe(this.policy.policy === "automatic" ? 1 : 0);
    }
  }
}

it("starts nothing twice, too early, after a recovery or without leave, and always comes to an end", async () => {
  await holds(
    fc.asyncProperty(policy, fc.array(step, { maxLength: 25 }), async (chosen, steps) => {
      const play = new Play(await TriggerSite.make(chosen), chosen);
      for (const next of steps) await play.take(next);
      await play.conclude();
    }),
    { numRuns: 150 },
  );
}, 120_000);
