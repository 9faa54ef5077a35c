/**
 * A gateway whose barriers meet with trouble: `node barrier-gateway.ts CONFIG SEED MODE`.
 * rough: messages between it and its coordinator are late, lost and doubled. hang: it never hears of a release.
 * reconnects: a client whose connection was dropped by a close is let in again to write. stale: it tells the position of its hold before, which is what the judge of a test must find out.
 */
import type { PeerChannel } from "../../gateway/barrier/channel.ts";
import type { FromPeer } from "../../gateway/barrier/messages.ts";
import { runGateway } from "../../gateway/main.ts";
import { SourceDisks } from "../../gateway/source/source-disks.ts";
import { SeededRandom } from "./seeded-random.ts";

const [configFile = "", seed = "0", mode = "fair"] = process.argv.slice(2);
const random = new SeededRandom(Number(seed));

function carry(deliver: () => void): void {
  if (random.chance(0.05)) return;
  for (let copies = random.chance(0.15) ? 2 : 1; copies > 0; copies -= 1) {
    const lateMs = random.chance(0.1) ? 200 + random.below(300) : random.below(40);
    setTimeout(deliver, lateMs);
  }
}

function rough(channel: PeerChannel): PeerChannel {
  return {
    send: (message) => (message.kind === "hello" ? channel.send(message) : carry(() => channel.send(message))),
    listen: ({ received, closed }) => channel.listen({ received: (message) => carry(() => received(message)), closed }),
    close: () => channel.close(),
  };
}

function hang(channel: PeerChannel): PeerChannel {
  return {
    ...channel,
    listen: ({ received, closed }) =>
      channel.listen({ received: (message) => message.kind === "hold" && received(message), closed }),
  };
}

function stale(channel: PeerChannel): PeerChannel {
  let before: Extract<FromPeer, { kind: "held" }> | undefined;
  return {
    ...channel,
    send: (message) => {
      const told = message.kind === "held" && before?.session === message.session ? before : undefined;
      if (message.kind === "held") before = message;
      channel.send(told === undefined || message.kind !== "held" ? message : { ...told, attempt: message.attempt });
    },
  };
}

if (mode === "reconnects") {
  const { exportAs } = SourceDisks.prototype;
  SourceDisks.prototype.exportAs = async function (wanted) {
    await exportAs.call(this, wanted);
    if (wanted === "read-only") await exportAs.call(this, "read-write");
  };
}

const wraps: Readonly<Record<string, (channel: PeerChannel) => PeerChannel>> = { rough, hang, stale };
const wrapChannel = wraps[mode];
const gateway = await runGateway({ configFile, ...(wrapChannel === undefined ? {} : { wrapChannel }) });
process.once("SIGTERM", () => void gateway.close());
