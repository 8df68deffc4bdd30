package access

import (
	"net/netip"
	"time"

	"media-server/core/config"
)

// Config is [auth] of media-server.ini.
type Config struct {
	TokenSecrets []string // of play tokens: the first signs, all verify; none = data-dir/keys/token-secret

	APIOpenTo  []netip.Prefix // addresses that need no login for the API; empty. Never for a request with a forwarding header
	SessionTTL time.Duration  // a cpanel session without a request ends after this; 12h
	Lockout    time.Duration  // ten failed logins from one address within this time lock it out for as long; 15m; 0 = never
}

// DefaultConfig is what holds where the ini says nothing.
func DefaultConfig() Config {
	return Config{SessionTTL: 12 * time.Hour, Lockout: 15 * time.Minute}
}

// Bind declares the keys of [auth].
func (c *Config) Bind(set *config.Set) {
	s := set.Section("auth", "Who may use the API and cpanel.")
	s.Networks("api-open-to", &c.APIOpenTo, "Addresses and networks that may use the API without a login, as administrator. Never applies to a request that came through a proxy, nor to one for a host name with a dot that is not this machine's own: use its address.").Restart()
	s.Duration("session-ttl", &c.SessionTTL, time.Minute, 365*24*time.Hour, "A cpanel session ends so long after its last request.").Restart()
	s.Duration("lockout", &c.Lockout, 0, 24*time.Hour, "Ten failed logins from one address within this time shut it out for as long. 0 = never.").Restart()
	s.SecretList("token-secret", &c.TokenSecrets, "Secrets of play tokens, by comma: the first signs, all verify; put a new one in front and tokens of before stay good. 32 characters or more each; write ${ENV_NAME} or ${file:/path} rather than the words themselves. Empty = one is made in the folder of keys (media-server keys rotate --only token). core/access/PLAYTOKEN.md has the format for who makes tokens by himself.").Check(checkSecrets)
}

func checkSecrets(text string) (what, hint string) {
	for _, t := range config.ParseList(text) {
		if len(t) < leastSecret {
			return "a secret is shorter than 32 characters", "for instance what this prints: openssl rand -hex 32"
		}
	}
	return "", ""
}
