package jose

import "testing"

func TestHalfHash(t *testing.T) {
	// OpenID Connect Core 1.0, appendix A.4, has this access token and its at_hash.
	const token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
	if got := RS256.HalfHash(token); got != "77QmUPtjPfzWtF2AnpK9RQ" {
		t.Errorf("RS256: %s", got)
	}
	for a, n := range map[Algorithm]int{ES384: 32, PS512: 43, EdDSA: 43, Ed25519: 43, "none": 0} {
		if got := a.HalfHash(token); len(got) != n {
			t.Errorf("%s: %q has %d characters, not %d", a, got, len(got), n)
		}
	}
}
