import { CreateTableCommand, type DynamoDBClient, TransactionCanceledException } from "@aws-sdk/client-dynamodb";
import { beforeEach, describe, expect, it } from "vitest";
import { tableContract } from "../../test/contract/table.ts";
import { useLocalAws } from "../../test/kit/local-aws.ts";
import { SystemClock } from "../embedded/clock.ts";
import { SystemRandom } from "../embedded/random.ts";
import { makeAwsClients } from "./clients.ts";
import { DynamoTable } from "./table.ts";

const common = { clock: new SystemClock(), random: new SystemRandom() };

describe("on a local AWS", () => {
  const local = useLocalAws();
  const newTable = async (client: DynamoDBClient) => {
    const tableName = `table-${Buffer.from(common.random.bytes(8)).toString("hex")}`;
    await client.send(
      new CreateTableCommand({
        TableName: tableName,
        BillingMode: "PAY_PER_REQUEST",
        KeySchema: [
          { AttributeName: "pk", KeyType: "HASH" },
          { AttributeName: "sk", KeyType: "RANGE" },
        ],
        AttributeDefinitions: [
          { AttributeName: "pk", AttributeType: "S" },
          { AttributeName: "sk", AttributeType: "S" },
        ],
      }),
    );
    return tableName;
  };

  tableContract("DynamoTable", async () => {
    const client = makeAwsClients(local.place).dynamo;
    const tableName = await newTable(client);
    return {
      table: new DynamoTable({ ...common, client, tableName }),
      other: new DynamoTable({ ...common, client: makeAwsClients(local.place).dynamo, tableName }),
    };
  });

  describe("a write whose reply is lost and that the SDK sends again", () => {
    const key = { pk: "p", sk: "s" };
    let table: DynamoTable;
    let other: DynamoTable;
    /** Replies to lose from now on, and what happens before the SDK sends again. */
    let losses: (() => Promise<void>)[];
    let sent: string[];
    beforeEach(async () => {
      [losses, sent] = [[], []];
      const client = makeAwsClients(local.place).dynamo;
      const tableName = await newTable(client);
      other = new DynamoTable({ ...common, client: makeAwsClients(local.place).dynamo, tableName });
      client.middlewareStack.add(
        (next, { commandName = "" }) =>
          async (args) => {
            sent.push(commandName);
            const reply = await next(args);
            const meanwhile = losses.shift();
            if (meanwhile === undefined) return reply;
            await meanwhile();
            throw Object.assign(new Error("socket hang up"), { code: "ECONNRESET" });
          },
        { step: "deserialize", name: "lossy", priority: "high" },
      );
      table = new DynamoTable({ ...common, client, tableName });
    });
    const lose = (meanwhile: () => Promise<void> = async () => undefined) => losses.push(meanwhile);

    it("is done: a put if absent, a put by its rev, a conditional delete, a transaction", async () => {
      lose();
      await table.transact([{ put: key, fields: { a: 1 }, if: { absent: true } }]);
      lose();
      await table.transact([{ put: key, fields: { a: 2 }, if: { rev: 1 } }]);
      expect(await other.get(key)).toEqual({ ...key, rev: 2, fields: { a: 2 } });
      lose();
      await table.transact([{ delete: key, if: { rev: 2 } }]);
      lose();
      await table.transact([
        { put: key, fields: { a: 3 }, if: { absent: true } },
        { put: { pk: "p", sk: "t" }, fields: {}, if: { absent: true } },
      ]);
      expect(await other.get(key)).toEqual({ ...key, rev: 1, fields: { a: 3 } });
      expect(sent).toEqual([
        ...["UpdateItemCommand", "UpdateItemCommand", "UpdateItemCommand", "UpdateItemCommand"],
        ...["TransactWriteItemsCommand", "TransactWriteItemsCommand"],
        ...["TransactWriteItemsCommand", "TransactWriteItemsCommand"],
      ]);
    });

    it("is told as refused when it was not its own work that stands there, though that is the same", async () => {
      await other.transact([{ put: key, fields: { a: 1 }, if: { absent: true } }]);
      const again = table.transact([{ put: key, fields: { a: 1 }, if: { absent: true } }]);
      await expect(again).rejects.toMatchObject({ name: "ConditionFailed", details: { index: 0 } });
    });
  });

  it("makes one plain write of one action, and a transaction only of several or of a conditional delete", async () => {
    const sent: string[] = [];
    const client = makeAwsClients(local.place).dynamo;
    client.middlewareStack.add(
      (next, { commandName = "" }) =>
        (args) => {
          sent.push(commandName.replace(/Command$/, ""));
          return next(args);
        },
      { step: "initialize", name: "noted" },
    );
    const table = new DynamoTable({ ...common, client, tableName: await newTable(makeAwsClients(local.place).dynamo) });
    const key = { pk: "p", sk: "s" };
    await table.transact([{ put: key, fields: {} }]);
    await table.transact([{ check: key, if: { rev: 1 } }]);
    await table.transact([{ delete: key, if: { rev: 1 } }]);
    await table.transact([{ delete: key }]);
    await table.transact([{ put: key, fields: {} }, { delete: { pk: "p", sk: "t" } }]);
    expect(sent).toEqual(["UpdateItem", "GetItem", "TransactWriteItems", "DeleteItem", "TransactWriteItems"]);
  });

  it("is Transient when a transaction meets others until its tries are used up: nothing is wrong with what was written", async () => {
    const client = makeAwsClients(local.place).dynamo;
    const conflicts = [{ Code: "None" }, { Code: "TransactionConflict" }];
    client.middlewareStack.add(
      () => async () => {
        const $metadata = { httpStatusCode: 400 };
        throw new TransactionCanceledException({ message: "", CancellationReasons: conflicts, $metadata });
      },
      { step: "initialize", name: "busy" },
    );
    const clock = { now: () => 0, monotonic: () => 0, sleep: async () => undefined };
    const table = new DynamoTable({ ...common, clock, client, tableName: "busy" });
    const both = ["s", "t"].map((sk) => ({ put: { pk: "p", sk }, fields: {} }));
    await expect(table.transact(both)).rejects.toMatchObject({ name: "Transient" });
  });

  it("names what is missing when the table is not there", async () => {
    const { dynamo } = makeAwsClients(local.place);
    const table = new DynamoTable({ ...common, client: dynamo, tableName: "no-such-table" });
    await expect(table.get({ pk: "p", sk: "s" })).rejects.toMatchObject({
      name: "Transient",
      message: expect.stringContaining("deploy infra/ again"),
    });
  });
});
