package jose

import "math/big"

// infineonPrimes tell keys of Infineon's broken generator from others (ROCA,
// CVE-2017-15361; Nemec et al., "The Return of Coppersmith's Attack", CCS 2017,
// section 3.2, and the primes of their detection tool).
func infineonPrimes() []int64 {
	return []int64{3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157}
}

// factorable reports whether the modulus is one of that generator's: both its
// primes, and so their product, are powers of 65537 modulo every small prime. Of
// other moduli one in 2^27 is.
func factorable(n *big.Int) bool {
	const generator = 65537
	var remainder big.Int
	for _, p := range infineonPrimes() {
		want := remainder.Mod(n, big.NewInt(p)).Int64()
		power, found := int64(1), false
		for range p {
			found = found || power == want
			power = power * (generator % p) % p
		}
		if !found {
			return false
		}
	}
	return true
}
