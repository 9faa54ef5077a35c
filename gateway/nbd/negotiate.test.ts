import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { holds } from "../../test/kit/property.ts";
import { optionsMax } from "./limits.ts";
import { type Catalog, Negotiation, type Step } from "./negotiate.ts";
import { type ExportInfo, encodeGo, info, option, optionReply } from "./protocol.ts";

const exported: ExportInfo = {
  name: "disk",
  description: "the first disk",
  sizeBytes: 2 ** 40,
  flags: 5,
  blockBytesMin: 512,
  blockBytesPreferred: 4096,
  blockBytesMax: 2 ** 25,
};
const catalog: Catalog = { list: () => [exported], find: (name) => (name === "disk" ? exported : undefined) };

function begin(flags = 3): Negotiation {
  const negotiation = new Negotiation(catalog);
  expect(negotiation.clientFlags(flags)).toEqual({ reply: [], next: "continue" });
  return negotiation;
}

/** The option replies of a step as [type, data]. */
function replies(step: Step): readonly (readonly [number, Buffer])[] {
  return step.reply.map((bytes) => {
    const reply = Buffer.from(bytes);
    expect(reply.readUInt32BE(16)).toBe(reply.length - 20);
    return [reply.readUInt32BE(12), reply.subarray(20)];
  });
}

describe("Negotiation", () => {
  it("drops a client with unknown flags", () => {
    expect(new Negotiation(catalog).clientFlags(4).next).toBe("drop");
  });

  it("answers GO with size, flags and block sizes, and with names when asked", () => {
    const step = begin().option(option.go, encodeGo("disk", [info.name, info.description, 99]));
    expect(step).toMatchObject({ next: "transmit", exportName: "disk" });
    expect(replies(step).map(([type, data]) => [type, data.toString("hex")])).toEqual([
      [optionReply.info, `0000${"0000010000000000"}0005`],
      [optionReply.info, "0003" + "00000200" + "00001000" + "02000000"],
      [optionReply.info, `0001${Buffer.from("disk").toString("hex")}`],
      [optionReply.info, `0002${Buffer.from("the first disk").toString("hex")}`],
      [optionReply.ack, ""],
    ]);
  });

  it("answers INFO without leaving the haggling", () => {
    expect(begin().option(option.info, encodeGo("disk", [])).next).toBe("continue");
  });

  it("lists the exports", () => {
    const step = begin().option(option.list, Buffer.alloc(0));
    const [server, ack] = replies(step);
    expect(server?.[1].toString("utf8", 4)).toBe("diskthe first disk");
    expect(server?.[1].readUInt32BE(0)).toBe(4);
    expect(ack?.[0]).toBe(optionReply.ack);
  });

  it("acknowledges ABORT and closes", () => {
    const step = begin().option(option.abort, Buffer.alloc(0));
    expect(step.next).toBe("close");
    expect(replies(step)[0]?.[0]).toBe(optionReply.ack);
  });

  it.each([
    [true, 10],
    [false, 134],
  ])("answers EXPORT_NAME by size and flags (no zeroes: %s)", (noZeroes, length) => {
    const step = begin(noZeroes ? 3 : 1).option(option.exportName, Buffer.from("disk"));
    expect(step.next).toBe("transmit");
    expect(step.reply[0]?.length).toBe(length);
  });

  it.each([
    ["EXPORT_NAME of an unknown export", option.exportName, Buffer.from("other"), "drop", undefined],
    ["EXPORT_NAME that is no string", option.exportName, Buffer.from([0xff]), "drop", undefined],
    ["GO of an unknown export", option.go, encodeGo("other", []), "continue", optionReply.errUnknown],
    ["GO with a false length", option.go, Buffer.from("ffffffff0000", "hex"), "continue", optionReply.errInvalid],
    ["GO without data", option.go, Buffer.alloc(0), "continue", optionReply.errInvalid],
    ["GO with too long a name", option.go, encodeGo("x".repeat(4097), []), "continue", optionReply.errInvalid],
    ["LIST with data", option.list, Buffer.alloc(1), "continue", optionReply.errInvalid],
    ["STARTTLS", 5, Buffer.alloc(0), "continue", optionReply.errUnsupported],
    ["STRUCTURED_REPLY", 8, Buffer.alloc(0), "continue", optionReply.errUnsupported],
    ["an unknown option", 4711, Buffer.alloc(5), "continue", optionReply.errUnsupported],
  ] as const)("answers %s", (_, code, data, next, type) => {
    const step = begin().option(code, Buffer.from(data));
    expect(step.next).toBe(next);
    expect(replies(step)[0]?.[0]).toBe(type);
  });

  it("takes only EXPORT_NAME from a client that doesn't speak fixed newstyle", () => {
    expect(begin(0).option(option.list, Buffer.alloc(0)).next).toBe("drop");
    expect(begin(0).option(option.exportName, Buffer.from("disk")).next).toBe("transmit");
  });

  it("drops a client that haggles for ever", () => {
    const negotiation = begin();
    for (let count = 0; count < optionsMax; count++) {
      expect(negotiation.option(option.list, Buffer.alloc(0)).next).toBe("continue");
    }
    expect(negotiation.option(option.list, Buffer.alloc(0)).next).toBe("drop");
  });

  it("never throws, whatever comes", async () => {
    await holds(
      fc.property(fc.array(fc.tuple(fc.nat(12), fc.uint8Array({ maxLength: 40 }))), (options) => {
        const negotiation = begin();
        for (const [code, data] of options) {
          negotiation.option(code, Buffer.from(data));
        }
      }),
    );
  });
});
