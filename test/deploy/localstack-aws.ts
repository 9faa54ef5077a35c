import { createServer } from "node:net";
import { LocalstackContainer } from "@testcontainers/localstack";
import { getContainerRuntimeClient } from "testcontainers";
import type { Ground, LocalAws } from "./ground.ts";

/** Since 2026 LocalStack's images ask for an account's token. */
const image = process.env["FARSHORE_LOCALSTACK_IMAGE"] ?? "localstack/localstack:latest";
const token = process.env["LOCALSTACK_AUTH_TOKEN"];
const dockerSocket = "/var/run/docker.sock";

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}

interface LocalstackGround extends Ground {
  stop(): Promise<void>;
}

async function ground(region: string): Promise<LocalstackGround> {
  // The URLs of functions name the host and port that LocalStack was told; its own name resolves to 127.0.0.1.
  const port = await freePort();
  const container = await new LocalstackContainer(image)
    .withExposedPorts({ container: 4566, host: port })
    // Its Lambdas are containers beside it.
    .withBindMounts([{ source: dockerSocket, target: dockerSocket }])
    .withEnvironment({
      LOCALSTACK_HOST: `localhost.localstack.cloud:${port}`,
      ...(token === undefined ? {} : { LOCALSTACK_AUTH_TOKEN: token }),
    })
    .start();
  const docker = (await getContainerRuntimeClient()).container.getById(container.getId());
  return {
    region,
    // LocalStack's account for any access key that is not one of twelve digits.
    accountId: "000000000000",
    env: {
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
      AWS_REGION: region,
      AWS_DEFAULT_REGION: region,
      AWS_ENDPOINT_URL: container.getConnectionUri(),
    },
    cut: async () => void (await docker.pause()),
    restore: async () => void (await docker.unpause()),
    stop: async () => void (await container.stop({ timeout: 0 })),
  };
}

/** LocalStack: two containers, where Docker is. Its free edition stores policies and doesn't evaluate them. */
export const localstackAws: LocalAws = {
  name: "LocalStack",
  authorizes: false,
  namePrefix: "",
  async whyNot() {
    try {
      await getContainerRuntimeClient();
      return undefined;
    } catch {
      return "needs Docker";
    }
  },
  async open() {
    const [paris, berlin] = await Promise.all([ground("eu-west-3"), ground("eu-central-1")]);
    return { paris, berlin, close: async () => void (await Promise.all([paris.stop(), berlin.stop()])) };
  },
};
