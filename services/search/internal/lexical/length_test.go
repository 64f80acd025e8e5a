package lexical

import "testing"

// The values are those that Elasticsearch's explanations call dl, "length of
// field (approximate)".
func TestLengthsAreKeptAsLuceneKeepsThem(t *testing.T) {
	for _, tc := range []struct{ terms, want uint32 }{
		{0, 0},
		{1, 1},
		{24, 24},
		{39, 39},
		{40, 40},
		{41, 40},
		{42, 42},
		{55, 54},
		{56, 56},
		{59, 56},
		{60, 60},
		{87, 84},
		{88, 88},
		{100, 96},
		{151, 144},
		{152, 152},
		{200, 200},
		{215, 200},
		{216, 216},
		{279, 264},
		{280, 280},
	} {
		if got := kept(tc.terms); got != tc.want {
			t.Errorf("%d terms are kept as %d, want %d", tc.terms, got, tc.want)
		}
	}
	for n := uint32(1); n < 1<<20; n = n*5/4 + 1 {
		if got := kept(n); got > n || got < n-n/8 || kept(got) != got {
			t.Errorf("%d terms are kept as %d", n, got)
		}
	}
}
