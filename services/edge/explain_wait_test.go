package edge_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
)

// For how long a request waited until a version could be asked is told of whoever was
// answered then, and of whoever waited in vain.
func TestAWaitForAnEngineIsExplained(t *testing.T) {
	g := open(t, nil)
	by := version(3, "3")
	by.WaitTime = durationpb.New(1250 * time.Millisecond)
	g.inference.answering(by)
	r := g.do("POST", chatPath, fmt.Sprintf(sayHi, "small", ""))
	if a, _ := g.explained(r.header.Get("X-Request-Id")); fact(a, "serving", "ready_wait_ms") != "1250" {
		t.Errorf("answered: %s", a.text)
	}
	g.failing(apierr.New(apierr.Unavailable, "the engine of small@v3 failed, and is being started again; try again").WithMetadata("ready_wait_ms", "3000").WithRetryAfter(time.Second))
	r = g.do("POST", chatPath, fmt.Sprintf(sayHi, "small", ""))
	if a, _ := g.explained(r.header.Get("X-Request-Id")); fact(a, "answer", "ready_wait_ms") != "3000" {
		t.Errorf("in vain: %s", a.text)
	}
}
