-- A purchase may be suspected more than once, so there is no key; without an identity, a publication FOR ALL TABLES
-- refuses the DELETE with which every handler of this system ends.
alter table public.session_suspects replica identity full;
