package edge

import (
	"errors"
	"fmt"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/conversation"
	"github.com/poterne/poterne/services/edge/internal/envelope"
	"github.com/poterne/poterne/services/edge/internal/inspect"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
	"github.com/poterne/poterne/services/edge/internal/responses"
)

// ConversationRedisConfig is the section conversations.redis.
type ConversationRedisConfig = conversation.RedisConfig

// ConversationStore keeps conversations.
type ConversationStore = conversation.Store

// WithConversations keeps conversations in the Redis that open connects to, where the
// configuration asks for one. Without it such a configuration is an error: not every
// program links a Redis client.
func WithConversations(open func(ConversationRedisConfig) ConversationStore) Option {
	return func(o *options) { o.talks = open }
}

func (s *Service) openConversations(inference inferencev1.InferenceServiceClient, codec *jsoncodec.Codec, inspector *inspect.Inspector) error {
	cfg := s.cfg.Conversations
	var store conversation.Store = conversation.NewSQLStore(s.security.DB)
	if cfg.Store == conversation.StoreRedis {
		if s.opts.talks == nil {
			return errors.New("conversations.store: this program is built without a Redis client; poterne-edge has one")
		}
		store = s.opts.talks(cfg.Redis)
		s.closers = append(s.closers, store.Close)
	}
	masters, err := s.conversationKeys()
	if err != nil {
		return err
	}
	if masters != nil {
		store = conversation.NewSealed(store, masters)
	}
	s.conversations = conversation.New(conversation.Deps{
		Config: cfg, Store: store, Models: inference, Meters: s.security.Meters, Inspector: inspector, Codec: codec,
		Clock: s.opts.clock, IDs: s.opts.ids, Log: s.opts.telemetry.Logger,
	})
	return nil
}

// conversationKeys are what seals conversations, and responses that are kept; nil: they
// are in the clear.
func (s *Service) conversationKeys() (*envelope.Masters, error) {
	cfg := s.cfg.Conversations
	if cfg.Key == "" {
		return nil, nil //nolint:nilnil // nothing is sealed
	}
	masters, err := envelope.ParseMasters(cfg.Key, cfg.PreviousKeys...)
	if err != nil {
		return nil, fmt.Errorf("conversations.key: %w", err)
	}
	return masters, nil
}

// responseStore keeps responses.
func (s *Service) responseStore() (responses.Store, error) {
	store := responses.NewSQLStore(s.security.DB)
	masters, err := s.conversationKeys()
	if err != nil || masters == nil {
		return store, err
	}
	return responses.NewSealed(store, masters), nil
}
