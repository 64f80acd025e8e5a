//go:build real

package conversation_test

import (
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/edge/internal/conversation"
	"github.com/poterne/poterne/services/edge/internal/redisconversation"
)

func TestRealPostgresStore(t *testing.T) {
	s := openStore(t, testkit.Postgres(t).DSN)
	testStore(t, s, true)
	testConcurrent(t, s)
}

func TestRealRedisStore(t *testing.T) {
	s := redisconversation.Open(conversation.RedisConfig{Addr: testkit.Redis(t).Addr, Timeout: 5 * time.Second})
	t.Cleanup(func() { _ = s.Close() })
	testStore(t, s, false)
	testConcurrent(t, s)
}
