/**
 * Puts objects into a bucket until it is killed: `node put-forever.ts ROOT ROUND`. A body is the SHA-256 of its rest
 * and the rest. Prints a key, or `counter N`, only after its put has returned.
 */
import { createHash, randomBytes, randomInt } from "node:crypto";
import { writeSync } from "node:fs";
import { FileObjects } from "#adapters/embedded/objects.ts";

const [root = "", round = ""] = process.argv.slice(2);
const objects = await FileObjects.open(root);

function body(): Uint8Array {
  const rest = randomBytes(randomInt(300_000));
  return Buffer.concat([createHash("sha256").update(rest).digest(), rest]);
}

async function putNew(worker: number): Promise<never> {
  for (let serial = 0; ; serial++) {
    const key = `r${round}/w${worker}/s${serial % 3}/${serial}`;
    await objects.put(key, body(), { ifAbsent: true });
    writeSync(1, `${key}\n`);
  }
}

async function replaceCounter(): Promise<never> {
  for (let count = 1; ; count++) {
    await objects.put("counter", new TextEncoder().encode(`${round} ${count} `.repeat(count % 50)));
    writeSync(1, `counter ${count}\n`);
  }
}

await Promise.all([replaceCounter(), ...Array.from({ length: 6 }, (_, worker) => putNew(worker))]);
