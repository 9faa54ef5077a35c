import { type EventBridgeClient, PutEventsCommand } from "@aws-sdk/client-eventbridge";
import { InvalidInput, Transient } from "#core/errors.ts";
import type { Notice, Notify } from "#core/ports.ts";
import { awsTrouble } from "./trouble.ts";

/** What a rule of the site's bus matches to hand notices on to people; events that come in never have this source. */
export const noticeSource = "farshore.site";
export const noticeDetailType = "Farshore notice";

/** Tells people by an event on the site's own bus; a rule sends it on to SNS. */
export class EventBridgeNotify implements Notify {
  readonly #client: EventBridgeClient;
  readonly #bus: string | undefined;

  /** `bus` is its name or ARN; a function that tells nobody anything has none. */
  constructor({ client, bus }: { readonly client: EventBridgeClient; readonly bus: string | undefined }) {
    this.#client = client;
    this.#bus = bus;
  }

  async publish(notice: Notice): Promise<void> {
    if (this.#bus === undefined)
      throw new InvalidInput("FARSHORE_BUS is not set: this function can tell nobody anything");
    const entry = {
      EventBusName: this.#bus,
      Source: noticeSource,
      DetailType: noticeDetailType,
      Detail: JSON.stringify(notice),
    };
    const reply = await this.#client.send(new PutEventsCommand({ Entries: [entry] })).catch((error: unknown) => {
      throw awsTrouble(error, "events:PutEvents", this.#bus ?? "");
    });
    // The call succeeds although the entry did not.
    const { ErrorCode, ErrorMessage } = reply.Entries?.[0] ?? {};
    if (reply.FailedEntryCount === 0) return;
    throw new Transient(`events:PutEvents took no notice: ${ErrorCode}: ${ErrorMessage}`, {
      noticeId: notice.noticeId,
    });
  }
}
