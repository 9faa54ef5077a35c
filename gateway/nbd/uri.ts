import { InvalidInput } from "#core/errors.ts";
import type { NbdAddress } from "./client.ts";

/**
 * The NBD URI of an export, as libnbd and QEMU read it (NBD project, doc/uri.md): the export's name is the path behind the first
 * slash, a Unix socket stands in the query.
 */
export function formatNbdUri(address: NbdAddress, exportName: string): string {
  const path = exportName.split("/").map(encodeURIComponent).join("/");
  if ("socketPath" in address) {
    const socket = address.socketPath.split("/").map(encodeURIComponent).join("/");
    return `nbd+unix:///${path}?socket=${socket}`;
  }
  return `nbd://${address.host ?? "127.0.0.1"}:${address.port}/${path}`;
}

/** The name under which a VPG's volume is exported, at its source and where it is recovered. */
export function exportNameOf(vpgName: string, vmName: string, volume: string): string {
  return `${vpgName}/${vmName}/${volume}`;
}

/** Takes a URI apart. Throws `InvalidInput` for any other scheme, since TLS is not spoken here. */
export function parseNbdUri(uri: string): { readonly address: NbdAddress; readonly exportName: string } {
  const url = URL.canParse(uri) ? new URL(uri) : undefined;
  const exportName = decodeURIComponent(url?.pathname.slice(1) ?? "");
  const socketPath = url?.searchParams.get("socket");
  if (url?.protocol === "nbd+unix:" && socketPath) return { address: { socketPath }, exportName };
  if (url?.protocol === "nbd:" && url.hostname !== "") {
    return { address: { host: url.hostname, port: url.port === "" ? 10_809 : Number(url.port) }, exportName };
  }
  throw new InvalidInput(`"${uri}" is not an NBD URI; write nbd+unix:///EXPORT?socket=PATH or nbd://HOST:PORT/EXPORT`);
}
