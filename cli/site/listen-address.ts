import { BlockList, isIP } from "node:net";
import { InvalidInput } from "#core/errors.ts";

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** "127.0.0.1:7700" or "[::1]:7700"; port 0 takes a free one. Throws `InvalidInput`. */
export function parseListen(text: string): ListenAddress {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port > 65_535) {
    throw new InvalidInput(`--listen "${text}" is not ADDRESS:PORT, like 127.0.0.1:7700 or [::1]:7700`, {
      field: "listen",
    });
  }
  return { host: host === "localhost" ? "127.0.0.1" : host, port };
}

/** Tokens must not cross a network in the clear. Throws `InvalidInput`. */
export function assertLoopback({ host }: ListenAddress): void {
  const family = isIP(host);
  if (family !== 0 && loopback.check(host, family === 6 ? "ipv6" : "ipv4")) return;
  throw new InvalidInput(
    `${host} is reachable from other machines, and tokens would cross the network in the clear: ` +
      "give --tls-cert and --tls-key, or listen on 127.0.0.1",
    { field: "listen" },
  );
}
