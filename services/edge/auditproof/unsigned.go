package auditproof

import (
	"fmt"
	"time"
)

// longestUnsigned is more time than passes before a process signs what it wrote:
// checkpoints.interval is at most a day.
const longestUnsigned = 25 * time.Hour

// unsigned finds records that must have been signed, so that nobody can rewrite a
// chain by removing its checkpoints.
func (v *Verifier) unsigned(c *chainState) {
	if v.opts.Keys == nil || v.opts.Partial || !c.registered || c.broken || c.report.Proven >= c.expect {
		return
	}
	if late := c.last.Time.Sub(c.since); late > longestUnsigned {
		v.find(Finding{
			Kind: Forged, Chain: c.report.Chain, From: max(c.report.Proven, c.report.From), To: c.expect - 1, ID: c.last.ID,
			Detail: fmt.Sprintf("these records are of %v, without a checkpoint: there must have been one", late.Truncate(time.Second)),
		})
	}
}
