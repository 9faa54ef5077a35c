import type { Link } from "#core/protection/lineage.ts";
import {
  begunBy,
  forcedBy,
  type Message,
  nextOffer,
  type Reaction,
  receive,
  type Standing,
  startedBy,
  withdrawalOf,
} from "#core/protection/reverse.ts";
import { type ReverseRules, reverseRules } from "#core/protection/reverse-rules.ts";
import type { Model, Step } from "./explore.ts";
import {
  type Gateway,
  idOf,
  isCurrent,
  keyOf,
  type Name,
  names,
  newestTerm,
  otherOf,
  record,
  type Sent,
  send,
  sentOf,
  siteIds,
  standing,
  type World,
  withSite,
  withTable,
  write,
} from "./reverse-world.ts";

/** What a scenario tries: how many numbers there are, what people do, and which of the rules are as they should be. */
export interface Scenario {
  readonly start: readonly World[];
  /** Numbers of terms go no further. */
  readonly termsMax: number;
  /** Who has the journal may fail over, and the cycle goes on. */
  readonly failsOver: boolean;
  /** A person is wrong about the peer being lost for good. */
  readonly forcesWrongly?: boolean;
  readonly rules?: Partial<ReverseRules>;
  /** Without the comparison of table and bucket. */
  readonly trustsOldTables?: boolean;
  /** A gateway's closed mark is forgotten by a restart. */
  readonly forgetsClosed?: boolean;
  /** The first gateway's word stands for all. */
  readonly closesOne?: boolean;
  /** Withdrawing writes over a term that has begun. */
  readonly withdrawsAnyway?: boolean;
  /** Invariants that are looked at; all by default. */
  readonly only?: readonly string[];
}

const invariants = {
  "two sites' disks take writes": twoWrite,
  "two sites can mint the next term": twoKeyholders,
  "one number means two things": disagree,
  "a journal without a checkpoint of its own term": journalOfNothing,
};

export function reverseModel(scenario: Scenario): Model<World> {
  const rules: ReverseRules = { ...reverseRules, ...scenario.rules };
  const checked = Object.entries(invariants).filter(([name]) => scenario.only?.includes(name) ?? true);
  const current = (world: World, name: Name): boolean =>
    scenario.trustsOldTables === true || isCurrent(world, name, rules);
  return {
    start: scenario.start,
    key: keyOf,
    broken: (world) => checked.find(([, check]) => check(world, rules, current))?.[0],
    isEnd: (world) => isEnd(world, rules),
    *steps(world) {
      for (const name of names) {
        if (world[name].lost) continue;
        yield* runs(world, name, scenario, rules, current);
        yield* delivered(world, name, rules, current);
        yield* ownGateways(world, name, scenario, rules, current);
        yield* mishaps(world, name, rules);
      }
    },
  };
}

type Current = (world: World, name: Name) => boolean;

/** What the running site's operation does: one durable change or message a step, so that it may be killed after each. */
function* runs(
  world: World,
  name: Name,
  { termsMax, failsOver, withdrawsAnyway, forcesWrongly }: Scenario,
  rules: ReverseRules,
  current: Current,
): Generator<Step<World>> {
  const { table, bucket } = world[name];
  const { own } = table;
  const at: Standing = { ...standing(world, name, rules), role: table.role };
  const peer = otherOf(name);
  const say = (next: World, message: Message): World => send(next, { to: peer, message });
  const from = idOf(name);
  if (own.state === "none" && current(world, name)) {
    const next = at.offered?.term ?? nextOffer(at, idOf(peer), rules);
    if (next !== undefined && next.n <= termsMax) {
      yield { label: `${name} begins`, to: withTable(world, name, { own: { state: "offering", n: 0 } }) };
    }
    const begun = begunBy(at, idOf(peer));
    if (begun !== undefined && begun.n <= termsMax && !isKnownJournal(world, name, begun.n)) {
      yield { label: `${name} goes on with ${begun.n}`, to: tellStarted(world, name, begun.n, rules) };
    }
    if (failsOver && rules.holdsKey(at) && at.highest !== undefined && at.role !== "Runs" && at.burnt < termsMax) {
      const term: Link = { n: at.burnt + 1, minter: from, runs: from, journal: null, parent: at.highest.n };
      yield { label: `${name} mints ${term.n}, failing over`, to: write(world, name, { put: "term", term }) };
    }
  }
  const forced = forcedBy(at, forcesWrongly === true || world[peer].lost, rules);
  if (own.state !== "offering" && forced !== undefined && forced.n <= termsMax && current(world, name)) {
    const alone = write(world, name, { put: "term", term: forced });
    yield { label: `${name} forces ${forced.n}`, to: record(alone, name, rules, { state: "none", n: 0 }) };
  }
  // The failover's own record, which an unfinished one writes when it goes on.
  if (at.highest?.minter === from && at.highest.journal === null && table.role === "Journal") {
    yield { label: `${name} records its failover`, to: record(world, name, rules) };
  }
  if (own.state === "offering" && own.n === 0) {
    const term = at.offered?.term ?? nextOffer(at, idOf(peer), rules);
    if (term !== undefined && term.n <= termsMax) {
      const lineage = at.terms;
      const offered = at.offered ?? { term, lineage, gatewayLost: world[peer].gateways.length === 0 };
      const kept = write(world, name, { put: "offer", offer: offered });
      yield { label: `${name} writes offer ${term.n}`, to: kept };
      if (at.offered !== undefined) {
        const noted = record(world, name, rules, { state: "offering", n: term.n });
        yield { label: `${name} sends offer ${term.n}`, to: say(noted, { kind: "offer", from, offer: offered }) };
      }
    }
  }
  if (own.state === "offering" && own.n > 0) {
    const settled = bucket.terms.find(({ n, minter }) => n === own.n && minter === from);
    for (const answer of answersTo(world, name)) {
      const term = startedBy(at, answer.n, { state: answer.answer }, rules);
      if (term !== undefined) {
        yield {
          label: `${name} starts ${term.n} on an answer to ${answer.n}`,
          to: write(world, name, { put: "term", term }),
        };
      }
    }
    const withdrawal = withdrawalOf(at);
    if ((world.budget.withdrawals > 0 || world[peer].lost) && withdrawal !== undefined) {
      const budget = { ...world.budget, withdrawals: Math.max(0, world.budget.withdrawals - 1) };
      const to = { ...write(world, name, { put: "term", term: withdrawal }), budget };
      yield { label: `${name} withdraws ${own.n}`, to };
    }
    if (settled !== undefined) {
      const started = settled.journal !== null;
      const to = started
        ? tellStarted(world, name, own.n, rules)
        : say(record(world, name, rules, { state: "none", n: 0 }), { kind: "withdrawn", from, n: own.n });
      yield { label: `${name} records that ${own.n} is ${started ? "started" : "withdrawn"}, and tells`, to };
    }
  }
  if (own.state === "started") {
    if (withdrawsAnyway === true) {
      const terms = bucket.terms.map((term) => (term.n === own.n ? { ...term, journal: null } : term));
      yield {
        label: `${name} withdraws ${own.n} after all`,
        to: withSite(world, name, { bucket: { ...bucket, terms } }),
      };
    }
    if (isKnownJournal(world, name, own.n))
      yield { label: `${name} ends, protected`, to: withTable(world, name, { own: { state: "none", n: 0 } }) };
  }
}

/** The peer said that it has the journal, or more. */
const isKnownJournal = (world: World, name: Name, n: number): boolean =>
  answersTo(world, name).some((sent) => sent.n === n && (sent.answer === "journal" || sent.answer === "superseded"));

/** P4 is in the table; the peer is told, and the gateway captures and ships in the term. */
function tellStarted(world: World, name: Name, n: number, rules: ReverseRules): World {
  const noted = record(world, name, rules, { state: "started", n });
  const peer = otherOf(name);
  return send(send(noted, { to: peer, message: { kind: "started", from: idOf(name), n } }), { to: peer, batches: n });
}

function answersTo(world: World, name: Name): readonly Extract<Sent, { readonly answer: unknown }>[] {
  return world.net.flatMap((text) => {
    const sent = sentOf(text);
    return sent.to === name && "answer" in sent ? [sent] : [];
  });
}

/** Whatever was sent to the site comes, at any time and as often as it likes; the site may die between any two writes. */
function* delivered(world: World, name: Name, rules: ReverseRules, current: Current): Generator<Step<World>> {
  for (const text of world.net) {
    const sent = sentOf(text);
    if (sent.to !== name) continue;
    if ("message" in sent) yield* deliveredMessage(world, name, sent.message, rules);
    if ("close" in sent) yield* deliveredClose(world, name, sent);
    if ("batches" in sent && current(world, name)) {
      const at = { ...standing(world, name, rules), role: world[name].table.role };
      if (!rules.mayIngest(at, sent.batches) || at.highest === undefined) continue;
      const { listed, honest } = world[name];
      const n = at.highest.n;
      const to = withSite(world, name, { listed: n, honest: n === sent.batches && (honest || listed !== n) });
      yield { label: `${name} lists a checkpoint of ${sent.batches}`, to };
    }
  }
}

function* deliveredMessage(world: World, name: Name, message: Message, rules: ReverseRules): Generator<Step<World>> {
  const at = standing(world, name, rules);
  const n = message.kind === "offer" ? message.offer.term.n : message.n;
  const label = `${name} hears ${message.kind} ${n}`;
  const reaction = receive(at, message, rules);
  const broken = message.kind === "offer" ? brokenBy(at, message, reaction) : undefined;
  let next = world;
  for (const [index, change] of reaction.writes.entries()) {
    next = write(next, name, change);
    if (index < reaction.writes.length - 1)
      yield { label: `${label}, is killed after ${change.put}`, to: next, broken };
  }
  next = record(next, name, rules);
  const { minter } = message.kind === "offer" ? message.offer.term : { minter: idOf(otherOf(name)) };
  if (minter !== siteIds.stranger) next = send(next, { to: otherOf(name), answer: reaction.answer.state, n });
  const { pending } = standing(next, name, rules);
  if (pending !== undefined) {
    for (const gateway of world[name].gateways.keys()) next = send(next, { to: name, close: pending.term.n, gateway });
  }
  yield { label: `${label}: ${reaction.answer.refusal ?? reaction.answer.state}`, to: next, broken };
}

/** What an offer must never do, whoever sends it and whenever it comes. */
function brokenBy(
  at: Standing,
  message: Extract<Message, { kind: "offer" }>,
  { writes }: Reaction,
): string | undefined {
  const taken = writes.some((change) => change.put === "offer");
  if (!taken) return undefined;
  if (message.from === siteIds.stranger) return "a stranger's offer is taken";
  if (message.offer.term.n <= at.burnt) return "an old offer revives";
  if (reverseRules.holdsKey(at)) return "a keyholder gives way to an offer";
  return at.busy ? "an offer is taken beside an operation" : undefined;
}

/** A close is durable at the gateway before it says so. One of before it was opened is no news to it. */
function* deliveredClose(
  world: World,
  name: Name,
  { close, gateway }: Extract<Sent, { readonly close: number }>,
): Generator<Step<World>> {
  const one = world[name].gateways[gateway];
  if (one === undefined || close <= Math.max(one.closed, one.term)) return;
  const to = withGateway(world, name, gateway, { ...one, open: false, closed: close });
  yield { label: `${name}'s gateway ${gateway} closes for ${close}`, to };
}

const withGateway = (world: World, name: Name, index: number, gateway: Gateway): World =>
  withSite(world, name, { gateways: world[name].gateways.map((one, at) => (at === index ? gateway : one)) });

function* ownGateways(
  world: World,
  name: Name,
  { forgetsClosed, closesOne }: Scenario,
  rules: ReverseRules,
  current: Current,
): Generator<Step<World>> {
  const { gateways, table } = world[name];
  const at: Standing = { ...standing(world, name, rules), role: table.role };
  const { pending } = at;
  const asked = closesOne === true ? gateways.slice(0, 1) : gateways;
  if (pending !== undefined && asked.every(({ closed }) => closed >= pending.term.n)) {
    const { writes } = receive(at, { kind: "gateways-closed", n: pending.term.n }, rules);
    const closed = writes.reduce((next, change) => write(next, name, change), world);
    yield { label: `${name} notes that all have closed`, to: record(closed, name, rules) };
  }
  // What a checkpoint's listing changes is noticed later.
  if (standing(world, name, rules).role !== table.role && isCurrent(world, name, rules)) {
    yield { label: `${name} notices what it is`, to: record(world, name, rules) };
  }
  for (const [index, gateway] of gateways.entries()) {
    const promoted = table.role === "Runs" && at.highest?.runs === idOf(name) && at.highest.journal === null;
    if (promoted && at.highest !== undefined && gateway.term < at.highest.n && current(world, name)) {
      const to = withGateway(world, name, index, { open: true, closed: 0, term: at.highest.n });
      yield { label: `${name}'s gateway ${index} serves ${at.highest.n}`, to };
    }
    const starts = !gateway.open && (gateway.closed === 0 || forgetsClosed === true);
    const granted = forgetsClosed === true || (rules.mayServe(at) && current(world, name));
    if (starts && granted) {
      yield {
        label: `${name}'s gateway ${index} starts`,
        to: withGateway(world, name, index, { ...gateway, open: true }),
      };
    }
  }
}

/** What nobody does on purpose: an old table, a gateway without its state directory, a site that is gone. */
function* mishaps(world: World, name: Name, rules: ReverseRules): Generator<Step<World>> {
  const { budget } = world;
  const { table, gateways } = world[name];
  if (!isCurrent(world, name, rules)) {
    const bare = withTable(world, name, { closed: 0, own: { state: "none", n: 0 } });
    yield { label: `${name} rebuilds its table`, to: record(bare, name, rules) };
  }
  if (budget.restores > 0) {
    const old = name === "a" ? ({ role: "Dark", seen: 0 } as const) : ({ role: "Runs", seen: 2 } as const);
    const restored = withTable(world, name, { ...old, closed: 0, own: { state: "none", n: 0 } });
    if (table.seen > old.seen) {
      yield {
        label: `${name}'s table is an old one`,
        to: { ...restored, budget: { ...budget, restores: budget.restores - 1 } },
      };
    }
  }
  if (budget.replacements > 0) {
    for (const [index, gateway] of gateways.entries()) {
      const fresh = withGateway(world, name, index, { ...gateway, open: false, closed: 0 });
      yield {
        label: `${name}'s gateway ${index} is replaced`,
        to: { ...fresh, budget: { ...budget, replacements: budget.replacements - 1 } },
      };
    }
  }
  if (budget.losses > 0 && name === "a") {
    const gone = withSite(world, name, { lost: true, gateways: [] });
    yield { label: `${name} is lost`, to: { ...gone, budget: { ...budget, losses: budget.losses - 1 } } };
  }
}

/** From the start of a term with a journal until its journal's site fails over, only the site that runs it may write. */
function twoWrite(world: World): boolean {
  const { journal, runs } = newestTerm(world);
  if (journal === null) return false;
  return names.some((name) => idOf(name) !== runs && world[name].gateways.some(({ open }) => open));
}

function twoKeyholders(world: World, rules: ReverseRules, current: Current): boolean {
  const able = (name: Name): boolean => {
    const at: Standing = { ...standing(world, name, rules), role: world[name].table.role };
    return !world[name].lost && current(world, name) && rules.holdsKey(at);
  };
  return names.every(able);
}

/** Of one number both buckets say the same, and no term has two successors. */
function disagree(world: World): boolean {
  const children = new Map<number, string>();
  return [...world.a.bucket.terms, ...world.b.bucket.terms].some((term) => {
    const text = JSON.stringify(term);
    const known = children.get(term.parent);
    children.set(term.parent, text);
    return known !== undefined && known !== text;
  });
}

function journalOfNothing(world: World, rules: ReverseRules): boolean {
  return names.some((name) => {
    const { role, highest } = standing(world, name, rules);
    const { listed, honest } = world[name];
    return (
      role === "Journal" && highest !== undefined && highest.minter !== idOf(name) && !(listed === highest.n && honest)
    );
  });
}

/** Protected by a journal, or run alone by a keyholder whose next offer its peer would take; nobody is at anything. */
function isEnd(world: World, rules: ReverseRules): boolean {
  const idle = names.every((name) => world[name].lost || world[name].table.own.state === "none");
  if (!idle) return false;
  const newest = newestTerm(world);
  const runner = names.find((name) => idOf(name) === newest.runs);
  if (runner === undefined) return false;
  const peer = otherOf(runner);
  if (newest.journal !== null) return standing(world, peer, rules).role === "Journal";
  if (world[peer].lost) return true;
  const at = standing(world, runner, rules);
  const term = nextOffer(at, idOf(peer), rules);
  if (term === undefined) return false;
  const offer = { term, lineage: at.terms, gatewayLost: false };
  const { answer } = receive(standing(world, peer, rules), { kind: "offer", from: idOf(runner), offer }, rules);
  return answer.state === "closing";
}
