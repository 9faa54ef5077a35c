import {
  DeleteItemCommand,
  type DynamoDBClient,
  GetItemCommand,
  QueryCommand,
  TransactionCanceledException,
  type TransactWriteItem,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { ConditionFailed, InvalidInput } from "#core/errors.ts";
import type { Clock, Random, Table, TableAction, TableItem, TableKey } from "#core/ports.ts";
import { retry } from "#core/retry.ts";
import {
  assertCondition,
  assertKeyPart,
  assertTableKey,
  encodeActions,
  encodeCursor,
  keyOfAction,
  partitionKeyBytesMax,
} from "#core/table-rules.ts";
import { type Attributes, keyAttributes, toItem } from "./attributes.ts";
import { conditionOf, updateOf } from "./expressions.ts";
import { transactionRetry } from "./limits.ts";
import { pageOf, type QueryOptions } from "./query-page.ts";
import { awsTrouble, faultOf } from "./trouble.ts";

export interface DynamoTableOptions {
  readonly client: DynamoDBClient;
  readonly tableName: string;
  readonly clock: Clock;
  readonly random: Random;
}

type PutAction = Extract<TableAction, { readonly put: TableKey }>;

/**
 * Items in one DynamoDB table with the keys `pk` and `sk`. Reads are strongly consistent. One action is one plain write, half
 * the price of a transaction of one; several are a transaction. A call whose reply was lost and that the SDK sent again
 * answers as if it had been sent once: a transaction by its token, a single put by the item's `write`. Only a put without a
 * condition may then be done twice, which is to its caller as if it had come a little later.
 */
export class DynamoTable implements Table {
  readonly #options: DynamoTableOptions;

  constructor(options: DynamoTableOptions) {
    this.#options = options;
  }

  async get(key: TableKey): Promise<TableItem | undefined> {
    assertTableKey(key);
    const { client, tableName } = this.#options;
    try {
      const input = { TableName: tableName, Key: keyAttributes(key), ConsistentRead: true };
      const { Item } = await client.send(new GetItemCommand(input));
      return Item === undefined ? undefined : toItem(Item);
    } catch (error) {
      throw this.#trouble(error, "dynamodb:GetItem");
    }
  }

  async query(
    pk: string,
    options: QueryOptions = {},
  ): Promise<{ readonly items: readonly TableItem[]; readonly cursor?: string }> {
    assertKeyPart("pk", pk, partitionKeyBytesMax);
    const page = pageOf(pk, options);
    if (page === undefined) return { items: [] };
    const { client, tableName } = this.#options;
    try {
      const input = { TableName: tableName, ConsistentRead: true, ...page.input };
      const { Items = [], LastEvaluatedKey } = await client.send(new QueryCommand(input));
      const items = Items.map(toItem).filter((item) => page.holds(item.sk));
      const last = LastEvaluatedKey?.["sk"]?.S;
      return last === undefined || !page.holds(last) ? { items } : { items, cursor: encodeCursor(last) };
    } catch (error) {
      throw this.#trouble(error, "dynamodb:Query");
    }
  }

  async transact(actions: readonly TableAction[]): Promise<void> {
    encodeActions(actions);
    const [first, second] = actions;
    if (first === undefined) return;
    const write = Buffer.from(this.#options.random.bytes(16)).toString("base64url");
    if (second !== undefined) return this.#transaction(actions, write);
    if ("put" in first) return this.#put(first, write);
    if ("check" in first) return assertCondition(first.if, await this.get(first.check), 0, first.check);
    // A second try of a conditional delete would find the item gone and not know by whom; a transaction knows.
    if (first.if !== undefined) return this.#transaction(actions, write);
    return this.#delete(first.delete);
  }

  async #put(action: PutAction, write: string): Promise<void> {
    const { client, tableName } = this.#options;
    const command = new UpdateItemCommand({
      TableName: tableName,
      ...updateOf(action.put, action.fields, action.if, write),
      ReturnValuesOnConditionCheckFailure: "ALL_OLD",
    });
    try {
      await this.#untilFree(() => client.send(command));
    } catch (error) {
      if (faultOf(error).name !== "ConditionalCheckFailedException") throw this.#trouble(error, "dynamodb:UpdateItem");
      const found = itemOf(error);
      if (found?.["write"]?.S === write) return;
      throw refused(action, 0, found);
    }
  }

  async #delete(key: TableKey): Promise<void> {
    const { client, tableName } = this.#options;
    try {
      const command = new DeleteItemCommand({ TableName: tableName, Key: keyAttributes(key) });
      await this.#untilFree(() => client.send(command));
    } catch (error) {
      throw this.#trouble(error, "dynamodb:DeleteItem");
    }
  }

  async #transaction(actions: readonly TableAction[], write: string): Promise<void> {
    const { client, tableName } = this.#options;
    const command = new TransactWriteItemsCommand({
      TransactItems: actions.map((action) => writeOf(tableName, action, write)),
      ClientRequestToken: write,
    });
    try {
      await this.#untilFree(() => client.send(command));
    } catch (error) {
      if (!(error instanceof TransactionCanceledException)) throw this.#trouble(error, "dynamodb:TransactWriteItems");
      const { CancellationReasons: reasons = [] } = error;
      if (reasons.some(({ Code }) => Code === "ValidationError"))
        throw new InvalidInput(`DynamoDB refuses the transaction: ${error.message}`, {}, { cause: error });
      const index = reasons.findIndex(({ Code }) => Code === "ConditionalCheckFailed");
      const action = actions[index];
      if (action === undefined) throw this.#trouble(error, "dynamodb:TransactWriteItems");
      throw refused(action, index, reasons[index]?.Item);
    }
  }

  /** Tries again while another transaction is on the same items. */
  async #untilFree<T>(send: () => Promise<T>): Promise<T> {
    const { clock, random } = this.#options;
    return retry(clock, random, { ...transactionRetry, retries: isBusy }, send);
  }

  #trouble(error: unknown, action: string) {
    return awsTrouble(error, action, `table ${this.#options.tableName}`);
  }
}

function writeOf(TableName: string, action: TableAction, write: string): TransactWriteItem {
  const onFailure = { TableName, ReturnValuesOnConditionCheckFailure: "ALL_OLD" as const };
  if ("put" in action) return { Update: { ...onFailure, ...updateOf(action.put, action.fields, action.if, write) } };
  if ("delete" in action)
    return { Delete: { ...onFailure, ...conditionOf(action.if), Key: keyAttributes(action.delete) } };
  const { ConditionExpression = "", ...expression } = conditionOf(action.if);
  return { ConditionCheck: { ...onFailure, ...expression, ConditionExpression, Key: keyAttributes(action.check) } };
}

/** Nothing is wrong with the write; something else was at the same item. A condition that failed before it is an answer. */
function isBusy(error: unknown): boolean {
  if (!(error instanceof TransactionCanceledException)) return faultOf(error).name === "TransactionConflictException";
  const first = error.CancellationReasons?.find(({ Code }) => Code !== undefined && Code !== "None")?.Code;
  return first !== undefined && first !== "ConditionalCheckFailed" && first !== "ValidationError";
}

function itemOf(error: unknown): Attributes | undefined {
  const item = error instanceof Error && "Item" in error ? error.Item : undefined;
  return typeof item === "object" && item !== null ? Object.fromEntries(Object.entries(item)) : undefined;
}

function refused(action: TableAction, index: number, found: Attributes | undefined): ConditionFailed {
  const { pk, sk } = keyOfAction(action);
  const stands = found?.["rev"]?.N === undefined ? "absent" : `rev ${found["rev"].N}`;
  return new ConditionFailed(`Item ${pk} ${sk} is not as wanted (it is ${stands}).`, { index, pk, sk });
}
