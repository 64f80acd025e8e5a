package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

func TestARequestIsExplainedAtAnotherEdge(t *testing.T) {
	testExplainedElsewhere(t, "sqlite://"+t.TempDir()+"/edge.db")
}

// testExplainedElsewhere has two edges on one store, and asks one about what the other
// answered.
func testExplainedElsewhere(t *testing.T, dsn string) {
	t.Helper()
	share := func(c *edge.Config) {
		c.Security.Store, c.Security.Keys.Pepper = sqldb.DefaultConfig(dsn), "what both of the edges know of keys"
	}
	here := open(t, share)
	there := open(t, share)
	there.key = here.key
	ada := here.holder("acme", "ada", "reader", "")
	const steps = letIn + "serving small@v3, usage whole, answer answered"

	for i := range 5 { // at once, each time: what was just answered is still on its way
		chat := here.do("POST", chatPath, fmt.Sprintf(sayHi, "small", ""), ada...)
		for _, id := range []string{chat.header.Get("X-Request-Id"), text(chat.at("id"))} {
			there.told(fmt.Sprint("request ", i), id, ada, steps, "state=answered", "served_by=small@v3", "prompt_tokens=7", "tenant=acme")
		}
	}
	refused := here.do("GET", "/v1/models", "", "Authorization", "Bearer wrong")
	there.told("a refusal", refused.header.Get("X-Request-Id"), nil, "identity refused, answer refused", "state=refused", "error_reason=UNAUTHENTICATED")
	if a, _ := there.explained(refused.header.Get("X-Request-Id"), ada...); a.status != http.StatusNotFound {
		t.Errorf("a tenant is told of nobody's request: %d %s", a.status, a.text)
	}

	// Who asks while it is under way elsewhere waits for it, and is told how it ended.
	begun, end := make(chan struct{}), make(chan struct{})
	slow := new(fakeInference)
	here.inference.unary = func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		close(begun)
		<-end
		return slow.Invoke(t.Context(), req)
	}
	done := make(chan answer, 1)
	go func() {
		done <- here.do("POST", chatPath, fmt.Sprintf(sayHi, "small", ""), append([]string{"X-Request-Id", "under-way"}, ada...)...)
	}()
	<-begun
	if a, _ := here.explained("under-way", ada...); a.at("state") != "in_hand" {
		t.Errorf("where it is: %s", a.text)
	}
	told := make(chan answer, 1)
	go func() {
		a, _ := there.explained("under-way", ada...)
		told <- a
	}()
	select {
	case a := <-told:
		t.Errorf("nobody waited: %d %s", a.status, a.text)
	case <-time.After(100 * time.Millisecond):
	}
	close(end)
	if a := <-done; a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.text)
	}
	there.told("what was under way", "under-way", ada, steps, "state=answered")
	if a := <-told; a.at("state") != "answered" || !strings.Contains(a.text, "small@v3") {
		t.Errorf("who waited is told %d %s", a.status, a.text)
	}

	// Of what there is not, and of what is not theirs, they are told so after the same time.
	bob := here.holder("other", "bob", "reader", "")
	for name, ask := range map[string][]string{"none": {"01890000-0000-7000-8000-000000000000"}, "another's": {"under-way"}} {
		start := time.Now()
		if a, _ := there.explained(ask[0], bob...); a.status != http.StatusNotFound || time.Since(start) < 300*time.Millisecond {
			t.Errorf("%s: %d after %v", name, a.status, time.Since(start))
		}
	}
}
