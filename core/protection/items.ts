import type { Id } from "#core/ids.ts";
import type { TableKey } from "#core/ports.ts";

/** Fixed-width decimals, so that byte order is numeric order. */
export const ordinalText = (session: number): string => String(session).padStart(10, "0");
export const sequenceText = (sequence: number): string => String(sequence).padStart(16, "0");

/**
 * Where each kind of item lives in the one table of a site. The table is a cache of the bucket (R7) plus what is only of today:
 * gateways' heartbeats, commands, operations under way, tokens. DynamoDB takes 1,000 writes a second of one partition key, so
 * what is written again and again has a key of its gateway, VPG or command; only lists of things that are made once share one.
 */
export const items = {
  /** The layout of the table (table-layout.ts). */
  site: (): TableKey => ({ pk: "site", sk: "self" }),
  /** When the process of an embedded site began. */
  siteBegan: (): TableKey => ({ pk: "site", sk: "began" }),
  /** role, term, running operation, definition: everything the status is a function of. */
  vpg: (vpgId: Id): TableKey => ({ pk: `vpg#${vpgId}`, sk: "state" }),
  vpgName: (name: string): TableKey => ({ pk: "vpg-name", sk: name }),
  session: (vpgId: Id, session: number): TableKey => ({ pk: `vpg#${vpgId}#session`, sk: ordinalText(session) }),
  /**
   * One a batch, under its last sequence: a marker is its batch's last record, so a checkpoint is found by its position here,
   * and a batch costs one write. It counts as listed by the pure rule of core/protection/checkpoint.ts. Carries pins.
   */
  batch: (vpgId: Id, session: number, lastSequence: number): TableKey => ({
    pk: `vpg#${vpgId}#batches`,
    sk: `${ordinalText(session)}-${sequenceText(lastSequence)}`,
  }),
  /** Number of the newest manifest (R13), as cache. */
  manifest: (vpgId: Id): TableKey => ({ pk: `vpg#${vpgId}`, sk: "manifest" }),
  /** Leases of views that have not ended: so that there are not too many. */
  leases: (vpgId: Id): TableKey => ({ pk: `vpg#${vpgId}`, sk: "leases" }),
  /** What the runs of retention told. */
  retention: (vpgId: Id): TableKey => ({ pk: `vpg#${vpgId}`, sk: "retention" }),
  /** How long a deleted VPG has been seen to be so, and when its journal went. */
  purge: (vpgId: Id): TableKey => ({ pk: `vpg#${vpgId}`, sk: "purge" }),
  /** How far the journal was read back, and what was found damaged. */
  scrub: (vpgId: Id): TableKey => ({ pk: `vpg#${vpgId}`, sk: "scrub" }),
  /** sync-begin, sync-end, close: few, read whole to apply R12. */
  event: (vpgId: Id, session: number, sequence: number): TableKey => ({
    pk: `vpg#${vpgId}#event`,
    sk: `${ordinalText(session)}-${sequenceText(sequence)}`,
  }),
  operation: (operationId: Id): TableKey => ({ pk: `operation#${operationId}`, sk: "self" }),
  decision: (operationId: Id): TableKey => ({ pk: `operation#${operationId}`, sk: "decision" }),
  /** Index of all operations by id (a ULID, so by time); fields vpgId, kind, open. */
  operationIndex: (operationId: Id): TableKey => ({ pk: "operations", sk: operationId }),
  /** Its last heartbeat, written every few seconds: a key of its own. Whoever wants all goes by `gatewayName`. */
  gateway: (gatewayId: Id): TableKey => ({ pk: `gateway#${gatewayId}`, sk: "heartbeat" }),
  /** A VPG that the gateway captures or recovers. */
  gatewayVpg: (gatewayId: Id, vpgId: string): TableKey => ({ pk: `gateway#${gatewayId}#vpg`, sk: vpgId }),
  /** All gateways by name, written when a token is made. */
  gatewayName: (name: string): TableKey => ({ pk: "gateway-name", sk: name }),
  /** A gateway's queue: ids of commands that have not ended. */
  command: (gatewayId: Id, commandId: string): TableKey => ({ pk: `gateway#${gatewayId}#command`, sk: commandId }),
  /** The command itself, with its gateway and what became of it; reports of progress write it again and again. */
  commandRecord: (commandId: string): TableKey => ({ pk: `command#${commandId}`, sk: "self" }),
  /** There when a person made the gateway's token again: its next open is accepted whatever session it last knew. */
  gatewayAdoption: (gatewayId: Id): TableKey => ({ pk: "gateway-adoption", sk: gatewayId }),
  /** What the monitor knows of a VPG's source (core/trigger/watch.ts). */
  watch: (vpgId: Id): TableKey => ({ pk: "watch", sk: vpgId }),
  /** By id, a ULID, so by time. */
  incident: (incidentId: Id): TableKey => ({ pk: "incident", sk: incidentId }),
  /** The outbox: what people were not told yet. */
  notice: (noticeId: string): TableKey => ({ pk: "notice", sk: noticeId }),
  siteFailover: (siteFailoverId: Id): TableKey => ({ pk: "site-failover", sk: siteFailoverId }),
  /** Names the site failover under way of a protected site. */
  openSiteFailover: (protectedSite: string): TableKey => ({ pk: "site-failover-open", sk: protectedSite }),
  tokenName: (name: string): TableKey => ({ pk: "token-name", sk: name }),
  token: (sha256Hex: string): TableKey => ({ pk: "token", sk: sha256Hex }),
  /** The newest revision of another site, also of one that was removed. */
  peer: (name: string): TableKey => ({ pk: "peer", sk: name }),
  principal: (arn: string): TableKey => ({ pk: "principal", sk: arn }),
} as const;
