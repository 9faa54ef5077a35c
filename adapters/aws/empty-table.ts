import {
  BatchWriteItemCommand,
  type DynamoDBClient,
  ScanCommand,
  type ScanCommandOutput,
  type WriteRequest,
} from "@aws-sdk/client-dynamodb";
import { Transient } from "#core/errors.ts";
import type { Clock, Random } from "#core/ports.ts";
import { retry } from "#core/retry.ts";
import { deletesPerCall, unprocessedRetry } from "./limits.ts";
import { awsTrouble } from "./trouble.ts";

/** A table as a whole, for a rebuild: nothing that serves a site reads or clears all of it. */
export interface WholeTable {
  readonly client: DynamoDBClient;
  readonly tableName: string;
  readonly clock: Clock;
  readonly random: Random;
}

export async function isEmptyTable(table: WholeTable): Promise<boolean> {
  const { Items = [], LastEvaluatedKey } = await scan(table, { Limit: 1 });
  return Items.length === 0 && LastEvaluatedKey === undefined;
}

/** Deletes every item; answers how many. What is written meanwhile may stay, so nothing may be. */
export async function emptyTable(table: WholeTable): Promise<number> {
  let deleted = 0;
  let from: ScanCommandOutput["LastEvaluatedKey"];
  do {
    const { Items = [], LastEvaluatedKey } = await scan(table, from === undefined ? {} : { ExclusiveStartKey: from });
    for (let place = 0; place < Items.length; place += deletesPerCall) {
      const some = Items.slice(place, place + deletesPerCall);
      await deleteAll(
        table,
        some.map((Key) => ({ DeleteRequest: { Key } })),
      );
      deleted += some.length;
    }
    from = LastEvaluatedKey;
  } while (from !== undefined);
  return deleted;
}

async function scan(
  { client, tableName }: WholeTable,
  options: Pick<ScanCommand["input"], "Limit" | "ExclusiveStartKey">,
): Promise<ScanCommandOutput> {
  const keys = { ProjectionExpression: "pk, sk", ConsistentRead: true };
  try {
    return await client.send(new ScanCommand({ TableName: tableName, ...keys, ...options }));
  } catch (error) {
    throw awsTrouble(error, "dynamodb:Scan", `table ${tableName}`);
  }
}

/** DynamoDB gives back what it was too busy for, as a success. */
async function deleteAll({ client, tableName, clock, random }: WholeTable, requests: WriteRequest[]): Promise<void> {
  let rest = requests;
  await retry(clock, random, unprocessedRetry, async () => {
    try {
      const command = new BatchWriteItemCommand({ RequestItems: { [tableName]: rest } });
      rest = (await client.send(command)).UnprocessedItems?.[tableName] ?? [];
    } catch (error) {
      throw awsTrouble(error, "dynamodb:BatchWriteItem", `table ${tableName}`);
    }
    if (rest.length > 0) throw new Transient(`dynamodb:BatchWriteItem on table ${tableName} left ${rest.length} items`);
  });
}
