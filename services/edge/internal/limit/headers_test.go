package limit

import (
	"encoding/base64"
	"hash/fnv"
	"slices"
	"testing"
	"time"
)

func TestHeaders(t *testing.T) {
	l := PerMinute(7)
	d := Decision{Allowed: true, Limit: l, Remaining: 6, ResetAfter: 8571 * time.Millisecond}
	want := []string{
		"ratelimit", `"default";r=6;t=9`, "ratelimit-policy", `"default";q=7;w=60`,
		"x-ratelimit-limit-requests", "7", "x-ratelimit-remaining-requests", "6", "x-ratelimit-reset-requests", "8.571s",
	}
	one := []Policy{{Name: PolicyDefault, Unit: Requests, Decision: d}}
	if got := Headers(one); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	one[0].Local = true
	if got := Headers(one); got[1] != `"default/per-replica";r=6;t=9` || got[3] != `"default/per-replica";q=7;w=60` {
		t.Errorf("a replica that decides alone says %q", got[:4])
	}
	if got := Headers(nil); len(got) != 0 {
		t.Errorf("of nothing it says %q", got)
	}
}

func TestHeadersOfSeveral(t *testing.T) {
	got := Headers([]Policy{
		{Name: "default", Unit: Requests, Decision: Decision{Limit: PerMinute(600), Remaining: 500, ResetAfter: 10 * time.Second}},
		{Name: "day", Unit: Requests, Partition: "m", Decision: Decision{
			Limit: Limit{Amount: 100, Period: 24 * time.Hour, Burst: 50}, Remaining: 25, ResetAfter: 6 * time.Minute,
		}},
		{Name: "tokens", Unit: Tokens, Decision: Decision{Limit: PerMinute(1000), Remaining: 999, ResetAfter: 12 * time.Millisecond}},
		{Name: "streams", Unit: Concurrent, Decision: Decision{Limit: Limit{Amount: 4, Period: time.Second}, Remaining: 1}},
	})
	digest := fnv.New64a()
	_, _ = digest.Write([]byte("m"))
	pk := ";pk=:" + base64.StdEncoding.EncodeToString(digest.Sum(nil)) + ":"
	want := []string{
		"ratelimit", `"default";r=500;t=10, "day";r=25;t=360` + pk + `, "tokens";r=999;t=1, "streams";r=1`,
		"ratelimit-policy", `"default";q=600;w=60, "day";q=50;w=43200` + pk + `, "tokens";q=1000;qu="tokens";w=60, "streams";q=4;qu="concurrent-requests"`,
		"x-ratelimit-limit-requests", "100", "x-ratelimit-remaining-requests", "25", "x-ratelimit-reset-requests", "6m0s",
		"x-ratelimit-limit-tokens", "1000", "x-ratelimit-remaining-tokens", "999", "x-ratelimit-reset-tokens", "12ms",
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d, want %d", len(got), len(want))
	}
}
