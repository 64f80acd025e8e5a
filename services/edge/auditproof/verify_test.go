package auditproof_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// Who removes a chain's checkpoints, to rewrite it with hashes made anew, is found
// by how much nobody has signed.
func TestChainsWithoutTheirCheckpoints(t *testing.T) {
	began := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for last, found := range map[time.Duration]int64{time.Hour: 0, 26 * time.Hour: 1} {
		v := auditproof.NewVerifier(auditproof.Options{Keys: note.VerifierList(), Registered: true})
		r := auditproof.Registration{Serial: 1, Chain: "c", Time: began}
		r.Hash = r.Sum()
		v.Registration(r)
		head := r.Hash
		for i, at := range []time.Duration{time.Minute, time.Minute + last} {
			rec := auditproof.Record{ID: "x", Chain: "c", Sequence: int64(i), Time: began.Add(at), Previous: head}
			rec.Hash = rec.Sum()
			head = rec.Hash
			v.Record(rec)
		}
		report := v.Finish()
		if report.Found != found || found > 0 && !strings.Contains(report.Findings[0].Detail, "checkpoint") {
			t.Errorf("the last record after %v: %+v", last, report.Findings)
		}
	}
}
