import { assumed } from "#core/cost/usage.ts";
import type { Objects, Table } from "#core/ports.ts";

/** What a month of it would be billed for, counted at the ports as AWS counts requests: a listing as a PUT, a row as a unit. */
export class Meters {
  s3Puts = 0;
  s3Gets = 0;
  dynamodbWrites = 0;
  dynamodbReads = 0;

  objects(port: Objects): Objects {
    const count = <T extends readonly unknown[], R>(meter: "s3Puts" | "s3Gets", call: (...args: T) => R) => {
      return (...args: T): R => {
        this[meter] += 1;
        return call(...args);
      };
    };
    return {
      get: count("s3Gets", (key, range) => port.get(key, range)),
      head: count("s3Gets", (key) => port.head(key)),
      put: count("s3Puts", (key, body, options) => port.put(key, body, options)),
      list: count("s3Puts", (prefix, options) => port.list(prefix, options)),
      delete: (key) => port.delete(key),
      purge: count("s3Puts", (keys) => port.purge(keys)),
    };
  }

  table(port: Table): Table {
    return {
      get: (key) => {
        this.dynamodbReads += 1;
        return port.get(key);
      },
      query: async (pk, options) => {
        const page = await port.query(pk, options);
        this.dynamodbReads += Math.max(1, Math.ceil((page.items.length * assumed.rowBytesPerBatch) / 4096));
        return page;
      },
      transact: (actions) => {
        this.dynamodbWrites += actions.length;
        return port.transact(actions);
      },
    };
  }
}
