import { nameSchema } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import { addPeerSchema } from "#core/protection/peer.ts";
import { addPeer, getPeer, listPeers, removePeer } from "#core/protection/peers.ts";
import { bodyJson, type HttpResult, json } from "../shared/http.ts";
import { httpLimits } from "../shared/limits.ts";
import type { Call } from "../shared/router.ts";

export async function postPeer({ site, caller, event }: Call): Promise<HttpResult> {
  const input = parseInput(addPeerSchema, bodyJson(event, httpLimits.jsonBytesMax));
  return json(await addPeer(site, input, caller), 201);
}

export async function getPeers({ site }: Call): Promise<HttpResult> {
  return json({ peers: await listPeers(site) });
}

export async function getOnePeer({ site, param }: Call): Promise<HttpResult> {
  return json(await getPeer(site, parseInput(nameSchema, param("peer"))));
}

export async function deletePeer({ site, caller, param }: Call): Promise<HttpResult> {
  await removePeer(site, parseInput(nameSchema, param("peer")), caller);
  return json({});
}
