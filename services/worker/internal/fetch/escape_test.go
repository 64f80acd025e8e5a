package fetch

import (
	"testing"
)

// Paths by which a server might be led out of an allowed prefix, in each of the
// ways in which some server reads them.
func TestPathsThatMightLeadOut(t *testing.T) {
	p := newPolicy([]string{"https://host.test/llm", "s3://bucket/llm", "oci://host.test/llm", "hf://org/llm"})
	for _, tail := range []string{
		"../secret", "./../secret", "a/../../secret", "..", "a/..", "%2e%2e/secret", "%2E%2E/secret", ".%2e/secret", "%2e./secret", "%2e/secret",
		"..%2fsecret", "..%2Fsecret", "%2e%2e%2fsecret", "..%5csecret", `..\secret`, "%5c..%5csecret",
		"..;/secret", "..;x=y/secret", ".;/secret", ";/secret", ";x=y/secret", "%2e%2e;/secret", "..%3b/secret", "..%3B%2fsecret",
		"..%20/secret", "%20/secret", "..%20;/secret", "a/..;/..;/secret",
		"%252e%252e/secret", "%252E%252E/secret", "..%252fsecret", "..%255csecret", "%252e/secret", "%25%32%65%25%32%65/secret",
		"//secret", "/secret", "a//secret", "%2f%2fsecret", "",
		"%c0%ae%c0%ae/secret", "%e0%80%ae%e0%80%ae/secret", "..%00/secret", "..%0a/secret", "..%0d%0a/secret", "..%ff/secret", "..%09/secret",
	} {
		for _, prefix := range []string{"https://host.test/llm/", "s3://bucket/llm/", "oci://host.test/llm/", "hf://org/llm/"} {
			if ref, err := Parse(prefix + tail); err == nil && p.allows(ref) {
				t.Errorf("%s%s is allowed, as %s", prefix, tail, ref)
			}
		}
	}
	for _, uri := range []string{
		"https://host.test/llm2/x", "https://host.test/LLM/x", "https://host.test/x?/llm/", "https://host.test.evil.test/llm/x", "https://evil.test/host.test/llm/x",
		"https://host.test:444/llm/x", "https://host.test./llm/x", "https://host.test@evil.test/llm/x", `https://host.test\@evil.test/llm/x`,
		"https://evil.test#host.test/llm/x", "https://evil.test?host.test/llm/x", "http://host.test/llm/x", "https:/host.test/llm/x", "https:///host.test/llm/x",
		"https://host.test%2f@evil.test/llm/x", "https://host.test%00.evil.test/llm/x", "https://[fe80::1%25eth0]/llm/x", "https://[::ffff:169.254.169.254]/llm/x",
		"s3://bucket2/llm/x", "s3://bucket/llmx/y", "hf://org/llmx/y", "hf://organ/llm/x", "oci://host.test/llmx:1",
	} {
		if ref, err := Parse(uri); err == nil && p.allows(ref) {
			t.Errorf("%s is allowed, as %s", uri, ref)
		}
	}
	for _, uri := range []string{
		"https://host.test/llm/a..b/c", "https://host.test/llm/...", "https://host.test/llm/..a", "https://host.test/llm/a;v=1", "https://host.test/llm/.hidden",
		"https://host.test/llm/a%20b", "https://host.test/llm/100%25", "s3://bucket/llm/a..b", "https://host.test/llm/a%2Cb",
	} {
		if ref, err := Parse(uri); err != nil || !p.allows(ref) {
			t.Errorf("%s is not allowed: %v", uri, err)
		}
	}
}
