package auditproof

import "time"

// MaxFindings is the most that a report lists; it counts all.
const MaxFindings = 1000

// ChainReport is what was verified of one chain.
type ChainReport struct {
	Chain string `json:"chain"`
	// From is the first record that is there, and Size one more than the last.
	From int64 `json:"from"`
	Size int64 `json:"size"`
	// Checkpoints is how many were found right, and Proven is the size of the largest:
	// records behind it are linked to each other, and nobody has signed them yet.
	Checkpoints int   `json:"checkpoints"`
	Proven      int64 `json:"proven"`
}

// Report is what a Verifier found.
type Report struct {
	// Records is how many in chains were read, and Unchained how many outside of any:
	// from before there were chains.
	Records   int64         `json:"records"`
	Unchained int64         `json:"unchained"`
	Chains    []ChainReport `json:"chains"`
	Findings  []Finding     `json:"findings"`
	// Found is how many things are wrong, with those that are not listed.
	Found int64 `json:"found"`
	// Begins is when the first chain that is known began.
	Begins time.Time `json:"begins,omitzero"`
}

// Checkpoints is how many checkpoints were found right.
func (r Report) Checkpoints() (n int) {
	for _, c := range r.Chains {
		n += c.Checkpoints
	}
	return n
}

// Unsigned is how many records no checkpoint that was found right covers.
func (r Report) Unsigned() (n int64) {
	for _, c := range r.Chains {
		n += max(c.Size-max(c.Proven, c.From), 0)
	}
	return n + r.Unchained
}
