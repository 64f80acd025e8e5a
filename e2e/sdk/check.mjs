// What the checks in JavaScript share.

let passed = 0;

// check ends the program unless ok.
export function check(name, ok, detail = "") {
  if (!ok) {
    console.log(`FAIL ${name}:`, told(detail));
    process.exit(1);
  }
  passed++;
  console.log("ok  ", name);
}

// told is a value as text. An error is its stack and those of its causes, because an
// error's JSON is "{}".
function told(detail) {
  if (detail instanceof Error) return [detail.stack, detail.cause && "because " + told(detail.cause)].filter(Boolean).join("\n");
  return typeof detail === "object" ? JSON.stringify(detail, null, 1) : detail;
}

// raises checks that call fails with an error of kind, with the members of want and
// the request's id.
export async function raises(name, kind, call, want = {}) {
  const error = await call.then(() => undefined, (e) => e);
  check(`${name}: ${kind.name}`, error instanceof kind, `${error?.constructor.name}: ${error}`);
  for (const [member, value] of Object.entries(want)) check(`${name}: ${member}`, error[member] === value, `${member} is ${error[member]}: ${error}`);
  check(`${name}: request id`, Boolean(error.requestID), error);
}

// done says how many checks there were.
export function done() {
  console.log(`${passed} passed, 0 failed`);
}
