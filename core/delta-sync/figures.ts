import { type HashResult, hashResultSchema, type ShipResult, shipResultSchema } from "#core/protection/command.ts";
import type { Operation, SyncFigures } from "#core/protection/operation.ts";
import { stepNames } from "#core/recovery/steps.ts";
import { formatBytes } from "#core/units.ts";

interface Settled {
  /** One sentence for the report. */
  readonly result: string;
  readonly change: { readonly syncFigures: SyncFigures };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

/** What the source gateways' answers to a step of a delta-sync come to; undefined when one isn't what such an answer is. */
export function settleSync(operation: Operation, step: string, answers: readonly unknown[]): Settled | undefined {
  if (step === stepNames.hashVolumes) {
    const hashed = answers
      .map((answer) => hashResultSchema.safeParse(answer).data)
      .filter((answer) => answer !== undefined);
    return hashed.length === answers.length ? settleHashes(hashed) : undefined;
  }
  const shipped = answers
    .map((answer) => shipResultSchema.safeParse(answer).data)
    .filter((answer) => answer !== undefined);
  return shipped.length === answers.length ? settleShips(operation, shipped) : undefined;
}

function settleHashes(answers: readonly HashResult[]): Settled {
  const pages = sum(answers.map((answer) => answer.pages));
  const hashedBytes = sum(answers.map((answer) => answer.hashedBytes));
  return {
    result: `The hashes of ${pages} pages are here, of ${formatBytes(hashedBytes)}.`,
    change: { syncFigures: { hashedBytes, differingBytes: 0, shippedBytes: 0, pages, pagesAlone: 0, ends: [] } },
  };
}

function settleShips(operation: Operation, answers: readonly ShipResult[]): Settled {
  const differingBytes = sum(answers.map((answer) => answer.differingBytes));
  const shippedBytes = sum(answers.map((answer) => answer.shippedBytes));
  const pages = sum(answers.map((answer) => answer.pages));
  const pagesAlone = sum(answers.map((answer) => answer.pagesAlone));
  const alone = pagesAlone === 0 ? "" : ` ${pagesAlone} pages were compared by the gateway alone.`;
  const hashedBytes = operation.syncFigures?.hashedBytes ?? 0;
  return {
    result: `Chunks of ${formatBytes(differingBytes)} differed, ${formatBytes(shippedBytes)} of them were shipped.${alone}`,
    change: {
      syncFigures: {
        hashedBytes,
        differingBytes,
        shippedBytes,
        pages,
        pagesAlone,
        ends: answers.map(({ end }) => end),
      },
    },
  };
}
