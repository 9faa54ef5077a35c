import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { describe, expect, it, type TestContext } from "vitest";
import { requirePeer } from "../kit/peers.ts";
import { cleanUpStages, settled, wholeStage } from "../kit/whole-stage.ts";

const volumeBytes = 128 * 2 ** 20;

cleanUpStages();

const run = (program: string, ...args: string[]) =>
  execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

/** `e2fsck -fn` on the image of every checkpoint: after its journal is replayed (on a copy), the file system is clean. */
function fsck(program: string, image: Buffer, file: string): void {
  writeFileSync(file, image);
  // A mounted file system's image holds a journal to replay, as after a power cut; -n alone would refuse to.
  const replay = runStatus(program, "-fy", "-E", "journal_only", file);
  expect(replay, "journal replay").toBeLessThanOrEqual(1);
  expect(runStatus(program, "-fn", file), "e2fsck -fn").toBe(0);
  rmSync(file);
}

function runStatus(program: string, ...args: string[]): number {
  try {
    run(program, ...args);
    return 0;
  } catch (error) {
    const status = error instanceof Error && "status" in error ? error.status : undefined;
    if (typeof status === "number") return status;
    throw error;
  }
}

function requireRoot(context: TestContext): void {
  if (process.getuid?.() !== 0) context.skip("mounts a loop device: run as root");
}

describe("a real file system on protected disks", () => {
  it("ext4 copied in through NBD, round by round: e2fsck is clean at the checkpoint of each round", async (context) => {
    const [mkfs = "", e2fsck = "", nbdcopy = "", debugfs = ""] = requirePeer(
      context,
      "mkfs.ext4",
      "e2fsck",
      "nbdcopy",
      "debugfs",
    );
    const stage = await wholeStage({ volumes: [{ name: "data", bytes: volumeBytes }], checkpointInterval: "1s" });
    const uri = stage.sourceUris[0] ?? "";
    const local = `${stage.directory}/ext4.img`;
    writeFileSync(local, "");
    run("truncate", "-s", String(volumeBytes), local);
    run(mkfs, "-q", "-F", local);
    const quiet: string[] = [];
    for (let round = 0; round < 4; round += 1) {
      const content = `${stage.directory}/content`;
      writeFileSync(content, Buffer.alloc(2 ** 20 * (round + 1), `round ${round} `));
      run(debugfs, "-w", "-R", `write ${content} file-${round}`, local);
      run(nbdcopy, local, uri);
      await settled(stage);
      quiet.push((await stage.list())[0]?.id ?? "");
    }
    // A checkpoint amid a copy holds half a copy, no file system at an instant; the mounted test below judges every checkpoint.
    for (const id of quiet) fsck(e2fsck, await stage.image(id, "data"), `${stage.directory}/check.img`);
  });

  it("ext4 mounted over nbdfuse and a loop device: every checkpoint recovers to a clean file system", async (context) => {
    requireRoot(context);
    const [mkfs = "", e2fsck = "", nbdfuse = "", losetup = "", mount = "", umount = ""] = requirePeer(
      context,
      "mkfs.ext4",
      "e2fsck",
      "nbdfuse",
      "losetup",
      "mount",
      "umount",
    );
    const stage = await wholeStage({ volumes: [{ name: "data", bytes: volumeBytes }], checkpointInterval: "1s" });
    const [fuse, mounted] = [`${stage.directory}/fuse`, `${stage.directory}/mounted`];
    for (const folder of [fuse, mounted]) mkdirSync(folder);
    stage.processes.startProgram("nbdfuse", nbdfuse, [`${fuse}/disk`, stage.sourceUris[0] ?? ""]);
    let loop = "";
    try {
      for (let tries = 0; loop === ""; tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        try {
          loop = run(losetup, "--find", "--show", `${fuse}/disk`).trim();
        } catch (error) {
          if (tries > 25)
            context.skip(
              `needs a loop device over FUSE: ${error instanceof Error ? error.message.split("\n")[0] : ""}`,
            );
        }
      }
      run(mkfs, "-q", "-F", loop);
      const beganAt = Date.now();
      run(mount, loop, mounted);
      for (let file = 0; file < 60; file += 1) {
        writeFileSync(`${mounted}/file-${file}`, Buffer.alloc(64 * 1024 * (1 + (file % 7)), `file ${file} `), {
          flush: file % 3 === 0,
        });
        if (file % 5 === 4) rmSync(`${mounted}/file-${file - 2}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      run(umount, mounted);
      await settled(stage);
      const judged = (await stage.list()).filter((checkpoint) => checkpoint.time > beganAt);
      expect(judged.length).toBeGreaterThan(3);
      for (const checkpoint of judged)
        fsck(e2fsck, await stage.image(checkpoint.id, "data"), `${stage.directory}/check.img`);
      process.stdout.write(`file system: e2fsck clean at ${judged.length} checkpoints of a mounted ext4\n`);
    } finally {
      if (runStatus("mountpoint", "-q", mounted) === 0) run(umount, mounted);
      if (loop !== "") run(losetup, "--detach", loop);
      runStatus(umount, fuse);
    }
  });
});
