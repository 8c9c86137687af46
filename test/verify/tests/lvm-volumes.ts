/**
 * The first 16 KiB of two physical volumes of 64 MiB, as vgcreate and lvcreate of LVM 2.03.16 wrote them. Volume group
 * "sys-vg", extents of 4 MiB from 1 MiB on: "root" is extents 0 to 4 of the first and 4 to 6 of the second, "data" is 0 to 3 of
 * the second, "striped" lies on both.
 */
import { gunzipSync } from "node:zlib";

const PACKED = [
	[
		"H4sIAAAAAAACA+1YW2/bNhRuhgHD9LLtdU+Egg3t1pOItORLgA2TbSVx4ltsJ05cBIYiy44c3SLJqt2iL/sBA/a4n7i3/YSRku20ibuHbukSlx",
		"9AiDy8HR4efkfkkyccnzKqalGrNuraxrz8h/nN74jJT2oESRKelrNnmmnXJzn32sg7l7h0tT+TrCusNXsZMlFp08/Tnl//80SL6r++Wln9GU0b",
		"fDs4ODg4ODg4ODg4ODjuDb+R4HuUXPamLxT1u0Cq//Dzxqr72rfpx/oi/U76f/7Krff4Ec5CiEfotWAN0E9ILB40u8c2hLmLHug1V4OGal7C5K",
		"J7BsPdogqnncPw2BGF0Lx2PdoBC0MvcPSI9bVjh9CaSI8mIS2/EFtau9LT1GJVE58jWlLL7NttVTqaeC4MbX2UtDsXzGlkulE/tF6ZVJDHBSI4",
		"+rRvx7QkJVl/njUjfaBHet/wfMsME5ngX85Cy9DtfuzZE4dKX1NZLC3XlD5hAHvDAPaIAewVA9gzBrB3DEgfMkRhYMaWwRQQt2l22/Y8XxKFtx",
		"ekVquNktpJVvTOAmj7hfY4g6UcEXyzTzsGzDBEkvOsbHgTl5WxIrxhGuKlhp2ZFV634Vrq6mD7jRDyjbMzkE73T8Ayxq8gmI7b5eJKDfG9aUh1",
		"pGkT7ZmuGeiROUAXs5QpYjMILc9FZEvKbOHsU/IMPSUSISApgPPPdlB74qK6FyPCnpB2JLJDCnQOkhUEw3PZVofJqum2o93UfU6SrUN7gTfxRW",
		"ExAfMvqnloBJYfpQKxG1iRiYaB56B4ZAQm1QxBiOQamrvyzebdZPEWNVPSmI7Sv/TCxGFjR/xyE1UtdzJFsYOyWzi/JcswNCBWCgraxKhda6Jm",
		"S9NqzU6/fFZXa5US+kVC03y2n5VvBowsJzFsrqBkJCUnF+iw77fBOp1/ws//Gp9/2xvdNmzgedFS78OW0j3eg5dDNYAjs2fDuJmZQtktF2H/+O",
		"UVaIEzDsNbPvG2F9DMSaVduaPt+05WDq88xdQdRw7zoOUChIWIGTlZZj91ssRl5v62aK0IQjTzE7uGEaUac8BUZpl3BkwkiYKCSP2LKi8J54mh",
		"3vx3TKng+2BKO14wJQwCi3ayPX1A9XQR6DT1aOrSZCMFgYuSPb7Dph+VQnN4FYUujcP/2x4I/2c4/3P+/+T5X2A+ubTKEZZaR9QqhpmBwYnnw+",
		"GhdwpjxWtBd1Q4pTK85wcP3iryh1gFr2VUlFlUTPb4dlTEjz0q/kv+lzn/c/5/ePxPPib/z2cid2dSbs+U+VBOlXmkedyRJlnyYEWksdGPmXlY",
		"2U4O1/rEFo61v/8pPP7z+M/jP4///2v8n9cNloY5qBRPO8cgN7seFBsHQ9jLRBG0drUSSHJEoFQ3xkZpHQxDFoLF4Sb5la6qPF8YLbdm13MLke",
		"UdfeEHaVTj/08cHBwcHBwcHBwcHBwcHCn+BpHjnyoAQAAA",
	],
	[
		"H4sIAAAAAAACA+1YW2/bNhRuhgLD9LI974lQsKHtehKRlnwJ0KGyrSROfIvtxEmKwFBk2ZGjWyRZtdsVA/YD9j/31p8wUrKdNnH30C1d4vIDCJ",
		"GHt8PDw++IfPSI42tGVS1q1UZdW5uVf3//+DfE5Ec1giQJd6ZWeNW+krq67TfCfOPkRDrePbKM0ZtgMmqXi7Tp47TnD/880bz6/fdLq7+haY1v",
		"BwcHBwcHBwcHBwcHx53hTxL8jJLL3uSVov4USPVnv64tu6/9mH6sb9PvuPfXH9x6Dx/hNIR4iN4KVh+9QGJxr9k9tCHMnZ+CXnM1aKjmBYzPuy",
		"cw2C6qcNzZDw8dUQjNK9ejHbAw8AJHj1hfO3YIrYn0aBzS8iuxpbUrp5parGric0RLapl9u61KRxPPhIGtD5N2Z4I5iUw36oXWG5MK8rhABEef",
		"9OyYlqQk68+yZqT39UjvGZ5vmWEiE/yLaWgZut2LPXvsUOlbKoulxZom5eyJZoJdH+fAvTLy4FzgElzuTiWwLrEGzdMMGaui0Ddjy2AKiJs0u2",
		"l7ni+JwocLUqvVRkntJCv6aAG0/Vx7nMFSjgi+2aMdA2YYIsl5Vja8scvKWBHeMQ3xQsP0kQXYKwuwZxZg7yzAHlqAvbRA+tSyVEN8ZxpSHWla",
		"RzumawZ6ZPbR+TRlitgMQstzEdmQMhs4+4Q8RU+IRAhICuD80y3UHruo7sWIsCekLYlskQKdg2QFwfBcttVhsmq67Wg7dZ+jZOvQTuCNfVGYT8",
		"D8i2oeGoHlR6lA7AZWZKJB4DkoHhqBSTVDECK5hmaufL1511m8Qc2UNKaj9C68MHHY2BG/W0dVyx1PUOyg7AbOb8gyDAyIlYKC1jFq15qo2dK0",
		"WrPTK5/U1VqlhF5KaJLP9rLy9YCR5SSGzRWUjKTk5AId9tM2WKXzT/j5X+Hzb3vDm4YNPC9a6L3fUrqHO/B6oAZwYJ7aMGpmJlB2y0XYPXx9CV",
		"rgjMLwhk986AU0c1RpV25p+6mTlcNLTzF1x6HDPGixAGEuYkZOltlLnSxxmZm/zVsrghBN/cSuYUSpxuwzlVnmowETSaKgIFL/ospLwlliqHf/",
		"HVMq+C6Y0o7nTAn9wKKdbE/vUz1dBDpNpzR1abKRgsBFyR7fYtMvSqE5vIxCF8bh/233hP8znP85/3/1/C8wn1xY5QBLrQNqFcPMQP/I82F/3z",
		"uGkeK1oDssHFMZ3vGDe28V+XOsglcyKsosKiZ7fDMq4oceFf8l/8uc/zn/3z/+J1+S/2czkdszKTdnynwup8o80jzsSJMsub8k0tjol8wsrGwm",
		"h2t1YgvHyt//FB7/efzn8Z/H//81/s/q+gvD7FWKx51DkJtdD4qNvQHsZKIIWttaCSQ5IlCqGyOjtAqGIXPB/HCT/FJXVZ7PjZZbseu5hcjijj",
		"73gzSq8f8nDg4ODg4ODg4ODg4ODo4UfwPYng5fAEAAAA==",
	],
];

export const PHYSICAL_VOLUMES = PACKED.map((lines) => gunzipSync(Buffer.from(lines.join(""), "base64")));
