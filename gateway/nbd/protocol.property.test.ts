import fc from "fast-check";
import { expect, it } from "vitest";
import { holds } from "../../test/kit/property.ts";
import { command, decodeGo, decodeString, encodeGo, encodeRequest, errno, requestErrno } from "./protocol.ts";

const name = fc
  .string({ unit: "grapheme", maxLength: 60 })
  .filter((text) => !text.includes("\0") && text.isWellFormed());

it("decodes the GO that it encodes", async () => {
  await holds(
    fc.property(name, fc.array(fc.nat(0xffff), { maxLength: 20 }), (text, infos) => {
      expect(decodeGo(encodeGo(text, infos))).toEqual({ name: text, infos });
    }),
  );
});

it("refuses every GO of another length, and never throws", async () => {
  await holds(
    fc.property(
      name,
      fc.array(fc.nat(0xffff), { maxLength: 5 }),
      fc.nat(),
      fc.uint8Array({ minLength: 1 }),
      (text, infos, cut, more) => {
        const data = encodeGo(text, infos);
        expect(decodeGo(data.subarray(0, cut % data.length))).toBeUndefined();
        expect(decodeGo(Buffer.concat([data, more]))).toBeUndefined();
      },
    ),
  );
  await holds(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const decoded = decodeGo(Buffer.from(bytes));
      if (decoded !== undefined) {
        expect(encodeGo(decoded.name, decoded.infos).equals(bytes)).toBe(true);
      }
    }),
    { numRuns: 500 },
  );
});

it("takes strings as the protocol defines them", () => {
  expect(decodeString(Buffer.from("größe", "utf8"))).toBe("größe");
  expect(decodeString(Buffer.from([0x61, 0x00]))).toBeUndefined();
  expect(decodeString(Buffer.from([0xff, 0xfe]))).toBeUndefined();
});

it("writes a request's fields where proto.md has them", () => {
  const bytes = encodeRequest({ flags: 1, type: 6, handle: 0x0102030405060708n, offset: 2 ** 40 + 512, length: 4096 });
  expect(bytes.toString("hex")).toBe(
    "25609513" + "0001" + "0006" + "0102030405060708" + "0000010000000200" + "00001000",
  );
});

const disk = { sizeBytes: 2 ** 20, sectorBytes: 512, canTrim: false, readOnly: false };

it.each([
  ["a read inside", disk, command.read, 0, 0, 512, 0],
  ["a read with FUA", disk, command.read, 1, 0, 512, 0],
  ["a read to the end", disk, command.read, 0, 2 ** 20 - 512, 512, 0],
  ["a read past the end", disk, command.read, 0, 2 ** 20 - 512, 1024, errno.invalid],
  ["a write past the end", disk, command.write, 0, 2 ** 20, 512, errno.noSpace],
  ["zeros past the end", disk, command.writeZeroes, 0, 2 ** 20, 512, errno.noSpace],
  ["an offset beyond 2^63", disk, command.read, 0, 2 ** 63, 512, errno.invalid],
  ["a misaligned offset", disk, command.read, 0, 1, 512, errno.invalid],
  ["a misaligned length", disk, command.write, 0, 0, 100, errno.invalid],
  ["no length", disk, command.write, 0, 0, 0, errno.invalid],
  ["an unknown flag", disk, command.read, 4, 0, 512, errno.invalid],
  ["NO_HOLE on a write", disk, command.write, 2, 0, 512, errno.invalid],
  ["NO_HOLE and FUA on zeros", disk, command.writeZeroes, 3, 0, 512, 0],
  ["FAST_ZERO, not offered", disk, command.writeZeroes, 16, 0, 512, errno.invalid],
  ["a flush", disk, command.flush, 0, 0, 0, 0],
  ["a flush of a range", disk, command.flush, 0, 0, 512, errno.invalid],
  ["a trim, not offered", disk, command.trim, 0, 0, 512, errno.invalid],
  ["a trim", { ...disk, canTrim: true }, command.trim, 0, 0, 512, 0],
  ["CACHE, not offered", disk, 5, 0, 0, 512, errno.invalid],
  ["an unknown command", disk, 77, 0, 0, 512, errno.invalid],
  ["a write on a read-only export", { ...disk, readOnly: true }, command.write, 0, 0, 512, errno.perm],
  ["zeros on a read-only export", { ...disk, readOnly: true }, command.writeZeroes, 0, 0, 512, errno.perm],
  ["a read on a read-only export", { ...disk, readOnly: true }, command.read, 0, 0, 512, 0],
] as const)("judges %s", (_, exported, type, flags, offset, length, expected) => {
  expect(requestErrno(exported, type, flags, offset, length)).toBe(expected);
});
