import { Sha256 } from "@aws-crypto/sha256-js";
import { SignatureV4 } from "@smithy/signature-v4";

/** A GET to a function URL, signed as whom the environment says: what any AWS client does, without a line of Farshore's. */
export async function signedGet(
  url: string,
  path: string,
  env: Readonly<Record<string, string>>,
): Promise<{ readonly status: number; readonly text: string }> {
  const target = new URL(path.replace(/^\//, ""), url);
  const { AWS_ACCESS_KEY_ID = "", AWS_SECRET_ACCESS_KEY = "", AWS_SESSION_TOKEN, AWS_REGION = "" } = env;
  const signer = new SignatureV4({
    service: "lambda",
    region: AWS_REGION,
    sha256: Sha256,
    credentials: {
      accessKeyId: AWS_ACCESS_KEY_ID,
      secretAccessKey: AWS_SECRET_ACCESS_KEY,
      ...(AWS_SESSION_TOKEN === undefined ? {} : { sessionToken: AWS_SESSION_TOKEN }),
    },
  });
  const { headers } = await signer.sign({
    method: "GET",
    protocol: target.protocol,
    hostname: target.hostname,
    path: target.pathname,
    headers: { host: target.host },
  });
  const reply = await fetch(target, { headers });
  return { status: reply.status, text: await reply.text() };
}
